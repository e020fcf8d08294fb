<?php

namespace Askr\Laravel\Tests;

use Askr\Laravel\AskrServiceProvider;
use Askr\Laravel\Facades\Askr;
use Illuminate\Filesystem\Filesystem;
use Illuminate\Foundation\PackageManifest;

class PackageTest extends TestCase
{
    public function test_laravel_discovers_it_where_composer_installed_it(): void
    {
        $base = sys_get_temp_dir() . '/askr-discover-' . getmypid();
        mkdir("$base/vendor/composer", 0777, true);
        $package = json_decode(file_get_contents(\dirname(__DIR__) . '/composer.json'), true);
        file_put_contents("$base/vendor/composer/installed.json", json_encode(['packages' => [$package]]));
        try {
            $manifest = new PackageManifest(new Filesystem, $base, "$base/packages.php");
            $this->assertSame([AskrServiceProvider::class], $manifest->providers());
            $this->assertSame(['Askr' => Askr::class], $manifest->aliases());
        } finally {
            (new Filesystem)->deleteDirectory($base);
        }
    }

    public function test_everything_that_composer_loads_is_there(): void
    {
        foreach ([\dirname(__DIR__), \dirname(__DIR__, 2) . '/clients/php'] as $dir) {
            $autoload = json_decode(file_get_contents("$dir/composer.json"), true)['autoload'];
            foreach (array_merge(array_values($autoload['psr-4']), $autoload['files'] ?? []) as $path) {
                $this->assertFileExists("$dir/$path");
            }
            foreach ((new Filesystem)->allFiles("$dir/src") as $file) {
                $class = array_key_first($autoload['psr-4']) . strtr(substr($file->getRelativePathname(), 0, -4), '/', '\\');
                $there = $file->getFilename() === 'functions.php' || class_exists($class) || interface_exists($class) || trait_exists($class);
                $this->assertTrue($there, $class);
            }
        }
    }

    /** @group extension */
    public function test_strict_mode_of_php_ini_knows_what_this_application_allows(): void
    {
        $channel = $this->newName();
        $code = 'chdir(' . var_export($this->app->basePath(), true) . '); require "bootstrap/app.php";
            $app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
            config(["broadcasting.default" => "askr", "askr.events" => ["note"]]);
            $sent = fn ($event) => Illuminate\Support\Facades\Broadcast::connection("askr")->broadcast(["' . $channel . '"], $event, []);
            $sent("note");
            $sent("App\\\\Events\\\\OrderPaid");
            try { $sent("nota"); echo "published"; } catch (ValueError $e) { echo $e->getMessage(); }';
        $flags = array_map(fn ($name) => "-d $name=" . escapeshellarg((string) ini_get($name)), ['askr.ring', 'askr.control']);
        $out = shell_exec(PHP_BINARY . ' -d extension=' . escapeshellarg(getenv('ASKR_SO')) . ' ' . implode(' ', $flags) . ' -d askr.strict=1 -r ' . escapeshellarg($code) . ' 2>&1');
        $this->assertStringContainsString('did you mean "note"?', (string) $out);
        $this->assertSame(['note', 'App\Events\OrderPaid'], array_column($this->heard($channel), 0));
    }

    /** Whatever anybody sends to the routes of this package is refused or taken, and never an error of the server. */
    public function test_no_request_is_an_error_of_the_server(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'encryption_key' => base64_encode(random_bytes(32))]]);
        $seed = random_int(0, PHP_INT_MAX);
        mt_srand($seed);
        for ($n = 0; $n < 400; $n++) {
            $value = $this->random(3);
            $token = $this->request('POST', '/broadcasting/askr/token', ['channels' => $value, 'x' => $this->random(1)], user: '7');
            $this->assertContains($token->getStatusCode(), [200, 422], "seed $seed: " . json_encode($value, JSON_PARTIAL_OUTPUT_ON_ERROR));
            // Closures of these throw, which is the application's own error.
            $channel = $this->random(1);
            $channel = \in_array($channel, ['private-broken', 'private-orders.x', 'private-orders.{order}'], true) ? 'private-orders.7' : $channel;
            $auth = $this->request('POST', '/broadcasting/auth', ['channel_name' => $channel, 'socket_id' => $this->random(1)], user: '7');
            $this->assertContains($auth->getStatusCode(), [200, 403], "seed $seed: " . json_encode($channel));
            $body = (string) json_encode(mt_rand(0, 3) ? ['time_ms' => $this->random(1), 'events' => $this->random(3)] : $value, JSON_PARTIAL_OUTPUT_ON_ERROR);
            $hook = $this->request('POST', '/broadcasting/askr/webhook', ['raw' => $body], [
                'X-Pusher-Key' => 'shop-key', 'X-Pusher-Signature' => hash_hmac('sha256', $body, getenv('ASKR_APP_SECRET')),
            ]);
            $this->assertContains($hook->getStatusCode(), [204, 400], "seed $seed: $body");
        }
    }

    /** Values near those that are meant, so that they get past the first check. */
    private function random(int $depth): mixed
    {
        $names = ['private-orders.7', 'presence-team', 'private-broken', 'private-encrypted-encrypted.1', 'orders', 'private-', '', "a\nb", '*', '1.2', 'client_event',
            'channel_occupied', str_repeat('private-x', 40), "\xc3\xbc", 'private-orders.{order}', 'private-orders.x'];
        $some = $names[mt_rand(0, \count($names) - 1)];
        return match (mt_rand(0, $depth > 0 ? 8 : 5)) {
            0, 1 => $some,
            2 => mt_rand(-5, 5),
            3 => null,
            4 => (bool) mt_rand(0, 1),
            5 => 1.5e300,
            6, 7 => array_map(fn () => $this->random($depth - 1), array_fill(0, mt_rand(0, 4), 0)),
            8 => ['name' => $some, 'channel' => $this->random($depth - 1), 'user_id' => $this->random($depth - 1), 'event' => $this->random($depth - 1)],
        };
    }
}

<?php

namespace Askr\Laravel\Status;

use Askr\Exception;
use Askr\Extension;
use Askr\HttpApi;
use Askr\HttpClient;
use Askr\Laravel\AskrManager;
use Illuminate\Contracts\Foundation\Application;

/** Looks at everything between a broadcast and a page, from the application's side. */
class Checks
{
    public function __construct(private readonly Application $app, private readonly AskrManager $askr)
    {
    }

    /** @return iterable<Check> */
    public function of(string $connection): iterable
    {
        $config = $this->askr->connection($connection);
        yield $this->default($connection);
        yield from Extension::loaded() ? $this->extension() : [$this->withoutExtension()];
        yield from $this->http($config);
        yield $this->cookie();
        yield from $this->proxy($config);
    }

    private function default(string $connection): Check
    {
        $default = (string) $this->config('broadcasting.default');
        if ($default === $connection) {
            return Check::ok('broadcasting', "the default connection is \"$connection\"");
        }
        $config = (string) @file_get_contents($this->app->configPath('broadcasting.php'));
        $name = str_contains($config, 'BROADCAST_DRIVER') ? 'BROADCAST_DRIVER' : 'BROADCAST_CONNECTION';
        $cached = $this->app->configurationIsCached() ? ' && php artisan config:clear' : '';
        $is = "the default connection is \"$default\"";
        return Check::problem('broadcasting', $is, "$name=$connection in .env$cached");
    }

    private function withoutExtension(): Check
    {
        $is = 'not loaded: events go over HTTP, a request each';
        if (PHP_OS_FAMILY !== 'Linux') {
            return Check::note('extension', "$is (it is for Linux)");
        }
        $fpm = 'php' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION . '-fpm';
        return Check::note('extension', $is, "sudo phpenmod askr && sudo systemctl restart $fpm (and queue workers)");
    }

    /** @return iterable<Check> */
    private function extension(): iterable
    {
        $status = askr_status();
        $user = \function_exists('posix_geteuid')
            ? posix_getpwuid(posix_geteuid())['name'] ?? posix_geteuid()
            : get_current_user();
        if (! $status['enabled']) {
            yield Check::problem('extension', 'askr.enabled is 0: nothing is published', 'askr.enabled = 1 in php.ini');
            return;
        }
        $reason = (string) $status['reason'];
        if (! $status['attached']) {
            yield Check::problem('ring', "user $user: $reason", match (true) {
                str_contains($reason, 'group') =>
                    "sudo usermod -aG askr $user, then sign in again; for PHP-FPM restart it",
                str_contains($reason, 'ring_owner') =>
                    'the ring is another user\'s: askr.ring_owner in php.ini, if that is meant to be',
                default =>
                    "sudo systemctl start askrd (its ring.name must be askr.ring of php.ini, \"{$status['ring']}\")",
            });
            return;
        }
        yield Check::ok('ring', "user $user publishes to {$status['ring']}, which holds {$status['slots']} events");
        if (! $status['daemon_alive']) {
            $mend = 'sudo systemctl start askrd; journalctl -u askrd says why it ended';
            yield Check::problem('askrd', 'gives no sign of life: events wait in the ring', $mend);
            return;
        }
        $behind = max(0, $status['tail'] - $status['daemon_read']);
        yield Check::ok('askrd', "reads the ring; it is $behind events behind");
        try {
            askr_channels('askr-check-');
            yield Check::ok('control socket', (string) \ini_get('askr.control'));
        } catch (Exception $e) {
            $mend = 'askr.control in php.ini and server.control in askr.toml must be the same, and '
                . "user $user in the group of the ring";
            yield Check::problem('control socket', $e->getMessage(), $mend);
        }
    }

    /** @return iterable<Check> */
    private function http(array $config): iterable
    {
        $url = (string) ($config['url'] ?? '');
        $app = $this->askr->credentials($config);
        if (! $app->hasSecret()) {
            $mend = 'php artisan askr:install, or ASKR_APP_SECRET in .env';
            yield Check::problem('application', 'has no secret: no channel can be authorized', $mend);
            return;
        }
        try {
            $http = new HttpClient($url, (float) ($config['timeout'] ?? 2.0));
            (new HttpApi($http, $app))->check();
        } catch (Exception | \ValueError $e) {
            yield Check::problem('application', $e->getMessage(), match ($e->getCode()) {
                401 => 'ASKR_APP_KEY and ASKR_APP_SECRET of .env must be app.key and app.secret of askr.toml, '
                    . 'and the clocks must agree',
                404 => 'ASKR_APP_ID of .env must be app.id of askr.toml',
                default => 'ASKR_URL of .env must be in server.listen of askr.toml: askrd --config askr.toml, '
                    . 'or sudo systemctl start askrd',
            });
            return;
        }
        yield Check::ok('application', "askrd at $url knows \"$app->id\" by its secret");
        if (! str_starts_with($url, 'unix:')) {
            foreach ($this->origins() as $origin) {
                yield $this->origin($http, $app->key, $origin);
            }
        }
    }

    private function origin(HttpClient $http, string $key, string $origin): Check
    {
        $answer = $this->webSocket($http, $key, $origin);
        if ($answer === true) {
            return Check::ok('origin', "pages of $origin may connect");
        }
        if (! str_contains($answer, '4009')) {
            return Check::problem('origin', "a page of $origin cannot connect: $answer", 'journalctl -u askrd says why');
        }
        $mend = "allowed_origins = [\"$origin\"] under [app] in askr.toml (beside those that are there), and restart askrd";
        return Check::problem('origin', "pages of $origin are refused", $mend);
    }

    /** Connects as pusher-js does. True, or what came instead. */
    private function webSocket(HttpClient $http, string $key, string $origin): string|bool
    {
        try {
            $stream = $http->send('GET', '/app/' . rawurlencode($key) . '?protocol=7&client=askr-status&version=1', [
                'Connection' => 'Upgrade', 'Upgrade' => 'websocket', 'Origin' => $origin,
                'Sec-WebSocket-Version' => '13', 'Sec-WebSocket-Key' => base64_encode(random_bytes(16)),
            ]);
            [$status] = $http->head($stream);
            if ($status !== 101) {
                return "HTTP $status " . trim(substr((string) fgets($stream, 200), 0, 200));
            }
            // The first frame of a server: two bytes, or four, then its text. No more is read than there is.
            $length = \ord(substr((string) fread($stream, 2), 1) ?: "\0");
            if ($length === 126) {
                $length = unpack('n', fread($stream, 2) ?: "\0\0")[1];
            }
            $text = $length > 0 ? (string) fread($stream, $length) : '';
            fclose($stream);
            return str_contains($text, 'pusher:connection_established') ?: preg_replace('/[^\x20-\x7e]/', '', $text);
        } catch (Exception $e) {
            return $e->getMessage();
        }
    }

    private function cookie(): Check
    {
        $token = $this->config('askr.token', []);
        $https = str_starts_with((string) $this->config('app.url'), 'https:');
        if (($token['route'] ?? null) === null) {
            return Check::note('cookie', 'askr.token.route is null: each channel is asked for at /broadcasting/auth');
        }
        if (($token['secure'] ?? null) === true && ! $https) {
            $is = 'askr.token.secure is true and app.url is not https: browsers drop it';
            return Check::problem('cookie', $is, '\'secure\' => null in config/askr.php');
        }
        if (($token['same_site'] ?? 'lax') === 'none' && ! $https) {
            $is = 'askr.token.same_site is "none", which wants https';
            return Check::problem('cookie', $is, '\'same_site\' => \'lax\' in config/askr.php');
        }
        $paths = implode(' and ', $token['paths'] ?? []);
        return Check::ok('cookie', ($token['cookie'] ?? 'askr_token') . " for $paths");
    }

    /** @return iterable<Check> */
    private function proxy(array $config): iterable
    {
        $url = $this->origins()[0];
        $served = str_starts_with($url, 'https://');
        try {
            $http = new HttpClient($url, (float) ($config['timeout'] ?? 2.0));
            [$status] = $http->ask('GET', '/askr/up');
        } catch (Exception | \ValueError) {
            yield Check::note('proxy', "nothing answers at $url from here, so whether it passes /askr/ on is not known");
            return;
        }
        if ($status !== 200 && ! $served) {
            yield Check::ok('proxy', 'none: pages ask askrd themselves at ' . ($config['url'] ?? ''));
            return;
        }
        $include = fn (string $snippet) => "include snippets/$snippet; in the server block of nginx, then "
            . 'sudo nginx -t && sudo nginx -s reload';
        yield $status === 200
            ? Check::ok('proxy', "$url/askr/ goes to askrd")
            : Check::problem('proxy', "$url/askr/up is answered $status", $include('askr.conf'));
        $answer = $this->webSocket($http, $this->askr->credentials($config)->key, $url);
        yield $answer === true
            ? Check::ok('proxy', "$url/app/ goes to askrd, WebSockets included")
            : Check::problem('proxy', "WebSockets do not pass $url/app/: $answer", $include('askr-pusher.conf'));
    }

    /** @return list<string> of app.url, and its other name on a developer's machine */
    private function origins(): array
    {
        $origin = preg_replace('#\A(https?://[^/]+).*\z#', '$1', (string) $this->config('app.url'));
        $origin = $origin === 'http://localhost' ? 'http://localhost:8000' : $origin;
        if (! preg_match('#\Ahttp://(localhost|127\.0\.0\.1)(:\d+)?\z#', $origin, $parts)) {
            return [$origin];
        }
        $other = $parts[1] === 'localhost' ? '127.0.0.1' : 'localhost';
        return [$origin, "http://$other" . ($parts[2] ?? '')];
    }

    private function config(string $key, mixed $default = null): mixed
    {
        return $this->app['config']->get($key, $default);
    }
}

<?php

namespace Askr\Laravel\Tests;

use Askr\Laravel\Console\InstallCommand;
use Askr\Laravel\Install\EnvFile;
use Illuminate\Contracts\Console\Kernel;
use Illuminate\Filesystem\Filesystem;
use Symfony\Component\Console\Tester\CommandTester;

class InstallTest extends TestCase
{
    private string $base;
    private string $said = '';

    protected function setUp(): void
    {
        parent::setUp();
        $this->base = sys_get_temp_dir() . '/askr-install-' . getmypid() . '-' . random_int(0, PHP_INT_MAX);
        mkdir($this->base);
    }

    protected function tearDown(): void
    {
        (new Filesystem)->deleteDirectory($this->base);
        parent::tearDown();
    }

    /** @param array<string, string> $files */
    private function skeleton(array $files): void
    {
        foreach ($files as $file => $text) {
            @mkdir(\dirname("$this->base/$file"), 0777, true);
            file_put_contents("$this->base/$file", $text);
        }
    }

    private function laravel8(array $files = []): void
    {
        $this->skeleton($files + [
            '.env' => "APP_NAME=Laravel\nAPP_URL=http://localhost\n\nBROADCAST_DRIVER=log\n\nPUSHER_APP_ID=\nPUSHER_APP_KEY=\nPUSHER_APP_SECRET=\n\n"
                . "MIX_PUSHER_APP_KEY=\"\${PUSHER_APP_KEY}\"\n",
            'config/app.php' => "<?php\n\nreturn [\n    'providers' => [\n        App\Providers\AuthServiceProvider::class,\n        // App\Providers\BroadcastServiceProvider::class,\n    ],\n];\n",
            'config/broadcasting.php' => "<?php\n\nreturn ['default' => env('BROADCAST_DRIVER', 'null')];\n",
            'bootstrap/app.php' => "<?php\n\n\$app = new Illuminate\Foundation\Application(dirname(__DIR__));\n\nreturn \$app;\n",
            'package.json' => '{"devDependencies": {"laravel-mix": "^6.0"}}',
            'webpack.mix.js' => "mix.js('resources/js/app.js', 'public/js');\n",
            'resources/js/app.js' => "require('./bootstrap');\n",
            'resources/js/bootstrap.js' => "window._ = require('lodash');\n\n// import Echo from 'laravel-echo';\n\n// window.Echo = new Echo({\n//     broadcaster: 'pusher',\n//     key: process.env.MIX_PUSHER_APP_KEY,\n// });\n",
            'routes/channels.php' => "<?php\n\nBroadcast::channel('mine', fn () => true);\n",
            '.gitignore' => "/node_modules\n",
        ]);
    }

    private function laravel11(array $files = []): void
    {
        $this->skeleton($files + [
            '.env' => "APP_NAME=Laravel\nAPP_URL=http://localhost:8000\n\nBROADCAST_CONNECTION=log\n",
            'config/broadcasting.php' => "<?php\n\nreturn ['default' => env('BROADCAST_CONNECTION', 'null')];\n",
            'bootstrap/app.php' => "<?php\n\nuse Illuminate\Foundation\Application;\n\nreturn Application::configure(basePath: dirname(__DIR__))\n    ->withRouting(\n        web: __DIR__.'/../routes/web.php',\n        commands: __DIR__.'/../routes/console.php',\n        health: '/up',\n    )->create();\n",
            'bootstrap/providers.php' => "<?php\n\nreturn [App\Providers\AppServiceProvider::class];\n",
            'package.json' => '{"devDependencies": {"vite": "^7.0"}}',
            'vite.config.js' => "export default {};\n",
            'resources/js/app.js' => "import './bootstrap';\n",
            'resources/js/bootstrap.js' => "import axios from 'axios';\nwindow.axios = axios;\n",
            '.gitignore' => "/node_modules\n",
        ]);
    }

    private function install(array $options = []): int
    {
        $this->app->setBasePath($this->base);
        $kernel = $this->app->make(Kernel::class);
        $code = $kernel->call('askr:install', $options + ['--no-interaction' => true]);
        $this->said = $kernel->output();
        return $code;
    }

    private function file(string $name): string
    {
        return (string) @file_get_contents("$this->base/$name");
    }

    private function env(string $name): ?string
    {
        return (new EnvFile($this->file('.env')))->get($name);
    }

    /** @return array<string, string> */
    private function everything(): array
    {
        $files = [];
        foreach ((new Filesystem)->allFiles($this->base, true) as $file) {
            $files[$file->getRelativePathname()] = $file->getContents();
        }
        ksort($files);
        return $files;
    }

    private function assertPhp(string $file): void
    {
        exec('php -n -l ' . escapeshellarg("$this->base/$file") . ' 2>&1', $out, $code);
        $this->assertSame(0, $code, implode("\n", $out));
    }

    public function test_a_fresh_laravel_11_gets_all_that_it_needs(): void
    {
        $this->laravel11();
        $this->assertSame(0, $this->install(), $this->said);
        $this->assertSame('askr', $this->env('BROADCAST_CONNECTION'));
        $this->assertNull($this->env('BROADCAST_DRIVER'));
        $this->assertSame('http://127.0.0.1:8090', $this->env('ASKR_URL'));
        $this->assertMatchesRegularExpression('/\A\d{6}\z/', $this->env('ASKR_APP_ID'));
        $this->assertSame([20, 40], [\strlen($this->env('ASKR_APP_KEY')), \strlen($this->env('ASKR_APP_SECRET'))]);
        $this->assertSame([$this->env('ASKR_APP_KEY'), '8090', 'http'], [$this->env('VITE_ASKR_APP_KEY'), $this->env('VITE_ASKR_PORT'), $this->env('VITE_ASKR_SCHEME')]);
        $this->assertStringStartsWith("APP_NAME=Laravel\nAPP_URL=http://localhost:8000\n", $this->file('.env'), 'what was there stays');
        $this->assertStringContainsString('allowed_origins = ["http://localhost:8000", "http://127.0.0.1:8000"]', $this->file('askr.toml'));
        $this->assertSame(0600, fileperms("$this->base/askr.toml") & 0777);
        $this->assertStringContainsString("/askr.toml\n", $this->file('.gitignore'));
        $this->assertStringContainsString("->withRouting(\n        channels: __DIR__.'/../routes/channels.php',\n        web:", $this->file('bootstrap/app.php'));
        $this->assertPhp('bootstrap/app.php');
        $this->assertPhp('routes/channels.php');
        $this->assertStringContainsString('key: import.meta.env.VITE_ASKR_APP_KEY', $this->file('resources/js/echo.js'));
        $this->assertStringEndsWith("\n\nimport './echo';\n", $this->file('resources/js/bootstrap.js'));
        $this->assertStringContainsString('npm install --save-dev laravel-echo pusher-js && npm run build', $this->said);
        $this->assertStringContainsString('php artisan askr:status', $this->said);
        $this->assertStringNotContainsString($this->env('ASKR_APP_SECRET'), $this->said);
    }

    public function test_a_fresh_laravel_8_gets_all_that_it_needs(): void
    {
        $this->laravel8();
        $this->assertSame(0, $this->install(), $this->said);
        $this->assertSame('askr', $this->env('BROADCAST_DRIVER'));
        $this->assertNull($this->env('BROADCAST_CONNECTION'));
        $this->assertStringContainsString('"http://localhost:8000", "http://127.0.0.1:8000"', $this->file('askr.toml'), 'APP_URL says no port, artisan serve takes 8000');
        $this->assertStringContainsString("\n        App\Providers\BroadcastServiceProvider::class,", $this->file('config/app.php'));
        $this->assertStringContainsString("fn () => true", $this->file('routes/channels.php'), 'it is not written over');
        $this->assertStringContainsString('process.env.MIX_ASKR_APP_KEY', $this->file('resources/js/echo.js'));
        $this->assertNotNull($this->env('MIX_ASKR_APP_KEY'));
        $this->assertStringContainsString('npm run production', $this->said);
    }

    public function test_run_twice_it_changes_nothing(): void
    {
        foreach (['laravel8', 'laravel11'] as $skeleton) {
            (new Filesystem)->cleanDirectory($this->base);
            $this->$skeleton();
            $this->install();
            $before = $this->everything();
            $this->assertSame(0, $this->install());
            $this->assertSame($before, $this->everything());
            $this->assertDoesNotMatchRegularExpression('/^\s*(create|change) /m', $this->said);
        }
    }

    public function test_a_trial_run_writes_nothing_and_says_what_it_would(): void
    {
        $this->laravel11();
        $before = $this->everything();
        $this->assertSame(0, $this->install(['--dry-run' => true]));
        $this->assertSame($before, $this->everything());
        foreach (['change     .env', 'create     askr.toml', 'change     bootstrap/app.php', 'create     resources/js/echo.js', 'Nothing was written'] as $line) {
            $this->assertStringContainsString($line, $this->said);
        }
    }

    public function test_reverbs_application_is_carried_over_and_its_pages_stay_as_they_are(): void
    {
        $echo = "import Echo from 'laravel-echo';\n\nwindow.Echo = new Echo({\n    broadcaster: 'reverb',\n    key: import.meta.env.VITE_REVERB_APP_KEY,\n"
            . "    wsHost: import.meta.env.VITE_REVERB_HOST,\n    wsPort: import.meta.env.VITE_REVERB_PORT ?? 80,\n});\n";
        $this->laravel11([
            '.env' => "APP_URL=http://localhost:8000\nBROADCAST_CONNECTION=reverb\n\nREVERB_APP_ID=736251\nREVERB_APP_KEY=lq3jxw0kzv8rt5nc2hyd\n"
                . "REVERB_APP_SECRET=p7fm1ge4sua9dk6xob2w\nREVERB_HOST=\"localhost\"\nREVERB_PORT=8080\nREVERB_SCHEME=http\n\n"
                . "VITE_REVERB_APP_KEY=\"\${REVERB_APP_KEY}\"\nVITE_REVERB_HOST=\"\${REVERB_HOST}\"\nVITE_REVERB_PORT=\"\${REVERB_PORT}\"\n",
            'resources/js/echo.js' => $echo,
            'resources/js/bootstrap.js' => "import './echo';\n",
        ]);
        $this->assertSame(0, $this->install(), $this->said);
        $this->assertSame(['736251', 'lq3jxw0kzv8rt5nc2hyd', 'p7fm1ge4sua9dk6xob2w'], array_map($this->env(...), ['ASKR_APP_ID', 'ASKR_APP_KEY', 'ASKR_APP_SECRET']));
        $this->assertSame(['localhost', '8090', 'lq3jxw0kzv8rt5nc2hyd'], array_map($this->env(...), ['VITE_REVERB_HOST', 'VITE_REVERB_PORT', 'VITE_REVERB_APP_KEY']));
        $this->assertSame($echo, $this->file('resources/js/echo.js'));
        $this->assertStringContainsString('id = "736251"', $this->file('askr.toml'));
        $this->assertStringContainsString("  npm run build\n", $this->said);
        $this->assertStringContainsString('the application of REVERB_APP_KEY', $this->said);
    }

    public function test_pushers_application_is_carried_over_and_what_its_echo_needs_is_said(): void
    {
        $this->laravel11([
            '.env' => "APP_URL=https://shop.example\nBROADCAST_CONNECTION=pusher\nPUSHER_APP_ID=\"1\"\nPUSHER_APP_KEY='0123456789abcdef0123'\nPUSHER_APP_SECRET=abcdef0123456789abcd # secret\n",
            'resources/js/echo.js' => "window.Echo = new Echo({ broadcaster: 'pusher', key: import.meta.env.VITE_PUSHER_APP_KEY, cluster: 'eu' });\n",
        ]);
        config(['broadcasting.connections.pusher.options.encryption_master_key_base64' => 'a2V5']);
        $this->assertSame(0, $this->install(), $this->said);
        $this->assertSame(['1', '0123456789abcdef0123', 'abcdef0123456789abcd', 'a2V5'], array_map($this->env(...), ['ASKR_APP_ID', 'ASKR_APP_KEY', 'ASKR_APP_SECRET', 'ASKR_ENCRYPTION_KEY']));
        $this->assertStringContainsString('Echo is set up already, and not for Askr', $this->said);
        $this->assertStringContainsString('wsHost: import.meta.env.VITE_ASKR_HOST', $this->said);
        $this->assertSame(['443', 'https'], [$this->env('VITE_ASKR_PORT'), $this->env('VITE_ASKR_SCHEME')]);
        $this->assertStringContainsString('allowed_origins = ["https://shop.example"]', $this->file('askr.toml'));
        $this->assertStringContainsString('include snippets/askr-pusher.conf;', $this->said);
    }

    public function test_react_and_vue_are_set_up_behind_their_imports(): void
    {
        foreach (['react' => 'resources/js/app.tsx', 'vue' => 'resources/js/app.ts'] as $kind => $file) {
            (new Filesystem)->cleanDirectory($this->base);
            $this->laravel11(['package.json' => "{\"dependencies\": {\"$kind\": \"^19\"}}", $file => "import '../css/app.css';\nimport { x } from './x';\n\nx();\n"]);
            $this->assertSame(0, $this->install(), $this->said);
            $this->assertStringStartsWith("import '../css/app.css';\nimport { x } from './x';\nimport { configureEcho } from '@laravel/echo-$kind';\n\nconfigureEcho({\n    broadcaster: 'reverb',\n", $this->file($file));
            $this->assertStringEndsWith("});\n\n\nx();\n", $this->file($file));
            $this->assertStringContainsString("pusher-js @laravel/echo-$kind", $this->said);
            $this->assertSame('', $this->file('resources/js/echo.js'));
            $before = $this->everything();
            $this->install();
            $this->assertSame($before, $this->everything(), 'twice');
        }
    }

    public function test_reacts_echo_for_reverb_stays_as_it_is(): void
    {
        $app = "import { configureEcho } from '@laravel/echo-react';\n\nconfigureEcho({\n    broadcaster: 'reverb',\n});\n";
        $this->laravel11(['package.json' => '{"dependencies": {"react": "^19"}}', 'resources/js/app.tsx' => $app]);
        $this->assertSame(0, $this->install(), $this->said);
        $this->assertSame($app, $this->file('resources/js/app.tsx'));
        $this->assertSame('8090', $this->env('REVERB_PORT'));
    }

    /** @dataProvider mistakes */
    public function test_a_mistake_is_a_sentence_and_changes_nothing(array $options, string $env, string $message): void
    {
        $this->laravel11(['.env' => $env]);
        if ($env === '') {
            unlink("$this->base/.env");
        }
        $before = $this->everything();
        $this->assertSame(2, $this->install($options));
        $this->assertStringContainsString($message, $this->said);
        $this->assertSame($before, $this->everything());
    }

    public static function mistakes(): array
    {
        $env = "APP_URL=http://localhost\n";
        return [
            [[], '', 'there is no .env: copy .env.example'],
            [['--echo' => 'svelte'], $env, '--echo must be plain, react, vue or none, "svelte" is not'],
            [['--listen' => '8090'], $env, '--listen must be an address and a port'],
            [['--origin' => ['shop.example']], $env, '--origin must be as a browser says it'],
            [[], "REVERB_APP_ID=1\nREVERB_APP_KEY=k\nREVERB_APP_SECRET=short\n", 'REVERB_APP_SECRET has fewer than 20 characters'],
        ];
    }

    public function test_flags_choose_origins_and_address(): void
    {
        $this->laravel11();
        $this->install(['--origin' => ['https://a.example', 'http://127.0.0.1:9000'], '--listen' => '0.0.0.0:7000', '--echo' => 'none']);
        $this->assertStringContainsString('allowed_origins = ["https://a.example", "http://127.0.0.1:9000", "http://localhost:9000"]', $this->file('askr.toml'));
        $this->assertSame('http://127.0.0.1:7000', $this->env('ASKR_URL'));
        $this->assertSame('', $this->file('resources/js/echo.js'));
    }

    public function test_a_person_is_asked_for_what_no_flag_says(): void
    {
        $this->laravel11();
        $this->app->setBasePath($this->base);
        $command = $this->app->make(InstallCommand::class);
        $command->setLaravel($this->app);
        $tester = new CommandTester($command);
        $tester->setInputs(['https://a.example, http://localhost:9000', 'none']);
        $this->assertSame(0, $tester->execute([]), $tester->getDisplay());
        $this->assertStringContainsString('Where are the pages?', $tester->getDisplay());
        $this->assertStringContainsString('Echo in the pages', $tester->getDisplay());
        $this->assertStringContainsString('allowed_origins = ["https://a.example", "http://localhost:9000", "http://127.0.0.1:9000"]', $this->file('askr.toml'));
        $this->assertSame('', $this->file('resources/js/echo.js'));
    }

    public function test_what_needs_root_is_printed_and_not_done(): void
    {
        $this->laravel11();
        $this->install();
        $this->assertStringContainsString(is_dir('/etc/askr') ? 'sudo install -b -m 0640 -o root -g askr' : "askrd --config $this->base/askr.toml", $this->said);
        if (! \Askr\Extension::loaded()) {
            $this->assertStringContainsString('The extension is not loaded: events go over HTTP', $this->said);
        }
    }

    public function test_an_env_file_keeps_what_it_does_not_set(): void
    {
        $text = "# comment\nA=1\nexport B='two # no comment'\nC=\"\${A}-\${B}\\n\"\nD = spaced # comment\nE=\nLOOP=\${LOOP}\n";
        $env = new EnvFile($text);
        $this->assertSame(['1', 'two # no comment', "1-two # no comment\n", 'spaced', null, null, null], array_map($env->get(...), ['A', 'B', 'C', 'D', 'E', 'NONE', 'LOOP']));
        $env->set(['A' => 'x y$1', 'NEW' => 'a"b']);
        $this->assertSame(str_replace('A=1', 'A="x y$1"', $text) . "\nNEW=\"a\\\"b\"\n", (string) $env);
        $this->assertSame(['x y$1', 'a"b'], [$env->get('A'), $env->get('NEW')]);
    }
}

<?php

namespace Askr\Laravel\Console;

use Askr\Laravel\Install\Changes;
use Askr\Laravel\Install\EnvFile;
use Askr\Laravel\Install\Page;
use Illuminate\Console\Command;
use Illuminate\Support\Str;

/**
 * Sets an application up. Run again it changes nothing; what is there of Reverb or Pusher is carried over. What needs
 * root is printed and never done.
 */
class InstallCommand extends Command
{
    protected $signature = 'askr:install
        {--origin=* : Where the pages are, as a browser says it: http://localhost:8000}
        {--listen=127.0.0.1:8090 : Where askrd listens for this application and, without a proxy, for its pages}
        {--echo= : plain, react, vue or none; what package.json says, if it is not given}
        {--dry-run : Say what would be done, and do nothing}';

    protected $description = 'Set this application up for Askr: .env, askr.toml, channels and Echo';

    /** Characters of a secret that askrd takes. */
    private const SECRET = 20;

    public function handle(): int
    {
        $changes = new Changes($this->laravel->basePath());
        $page = new Page($changes);
        $text = $changes->read('.env');
        if ($text === null) {
            return $this->fails('there is no .env: copy .env.example to .env, run `php artisan key:generate`, then this again');
        }
        $env = new EnvFile($text);

        [$from, $app] = $this->application($env);
        if (\strlen($app['SECRET']) < self::SECRET) {
            return $this->fails("{$from}_APP_SECRET has fewer than " . self::SECRET
                . ' characters, which askrd does not take: set ASKR_APP_KEY and ASKR_APP_SECRET to others');
        }
        $listen = $this->option('listen');
        if (! preg_match('/\A[A-Za-z0-9.\-\[\]:]+:\d{1,5}\z/', $listen)) {
            return $this->fails("--listen must be an address and a port, such as 127.0.0.1:8090, \"$listen\" is not");
        }
        $origins = $this->origins($env);
        foreach ($origins as $origin) {
            if (! preg_match('#\Ahttps?://[A-Za-z0-9.\-\[\]:]+\z#', $origin)) {
                return $this->fails('--origin must be as a browser says it, such as http://localhost:8000 or '
                    . "https://shop.example, \"$origin\" is not");
            }
        }
        $kind = $this->option('echo') ?? $page->kind();
        if ($this->option('echo') === null && $this->asks()) {
            $kind = $this->choice('Echo in the pages', Page::KINDS, $kind);
        }
        if (! \in_array($kind, Page::KINDS, true)) {
            return $this->fails("--echo must be plain, react, vue or none, \"$kind\" is not");
        }

        $echo = $page->echo();
        $env->set($this->variables($env, $app, $listen, $origins, $page->prefix(), $echo === 'REVERB'));
        $whose = $from === 'new' ? 'a new application' : "the application of {$from}_APP_KEY";
        $changes->write('.env', $whose, (string) $env);
        $changes->write('askr.toml', 'settings of askrd', $this->toml($app, $listen, $origins), 0600);
        if (! preg_match('#^/?askr\.toml$#m', $ignored = $changes->read('.gitignore') ?? '')) {
            $ignored = $ignored === '' ? '' : rtrim($ignored, "\n") . "\n";
            $changes->write('.gitignore', 'askr.toml has a secret in it', "$ignored/askr.toml\n");
        }
        $left = array_filter([$this->channels($changes), $page->setUp($kind)]);

        foreach ($changes->list() as $file => [$what, $why]) {
            $this->line(sprintf('  %-10s %s  (%s)', $what, $file, $why));
        }
        if (($file = $changes->refused()) !== null) {
            return $this->fails("$file cannot be written by this user");
        }
        if ($this->option('dry-run')) {
            $this->info('Nothing was written: this was a trial.');
        } else {
            $changes->apply();
            $this->laravel->configurationIsCached() && $this->call('config:clear');
        }
        foreach ($left as $text) {
            $this->warn($text);
        }
        $this->next($page, $kind, $echo, $origins, $listen);
        return self::SUCCESS;
    }

    /**
     * @return array{string, array{ID: string, KEY: string, SECRET: string}} whose variables they are, and the application
     */
    private function application(EnvFile $env): array
    {
        foreach (['ASKR', 'REVERB', 'PUSHER'] as $from) {
            [$id, $key, $secret] = array_map(fn ($name) => $env->get("{$from}_APP_$name"), ['ID', 'KEY', 'SECRET']);
            if ($key !== null && $secret !== null) {
                return [$from, ['ID' => $id ?? $key, 'KEY' => $key, 'SECRET' => $secret]];
            }
        }
        $id = (string) random_int(100_000, 999_999);
        return ['new', ['ID' => $id, 'KEY' => Str::lower(Str::random(20)), 'SECRET' => Str::random(40)]];
    }

    /** @return list<string> */
    private function origins(EnvFile $env): array
    {
        $given = $this->option('origin');
        $url = rtrim($env->get('APP_URL') ?? 'http://localhost', '/');
        if ($given === []) {
            $given = [self::asServed($url)];
            if ($this->asks()) {
                $given = array_map('trim', explode(',', (string) $this->ask('Where are the pages?', $given[0])));
            }
        }
        $origins = [];
        foreach ($given as $origin) {
            $origin = rtrim($origin, '/');
            $origins[] = $origin;
            // `artisan serve` is both, and prints one.
            if (preg_match('#\Ahttp://(localhost|127\.0\.0\.1)(:\d+)?\z#', $origin, $parts)) {
                $origins[] = 'http://' . ($parts[1] === 'localhost' ? '127.0.0.1' : 'localhost') . ($parts[2] ?? '');
            }
        }
        return array_values(array_unique($origins));
    }

    /** A fresh application says http://localhost, and is served at port 8000. */
    private static function asServed(string $url): string
    {
        return $url === 'http://localhost' ? 'http://localhost:8000' : preg_replace('#\A(https?://[^/]+).*\z#', '$1', $url);
    }

    /** @return array<string, string> */
    private function variables(
        EnvFile $env,
        array $app,
        string $listen,
        array $origins,
        string $prefix,
        bool $reverb,
    ): array {
        $config = (string) @file_get_contents($this->laravel->configPath('broadcasting.php'));
        $old = $config === ''
            ? version_compare($this->laravel->version(), '11', '<')
            : str_contains($config, 'BROADCAST_DRIVER');
        $port = substr($listen, strrpos($listen, ':') + 1);
        $url = parse_url($origins[0]);
        // Behind TLS there is a proxy, through which the page reaches askrd; without it askrd itself.
        $public = $url['scheme'] === 'https'
            ? ['PORT' => (string) ($url['port'] ?? 443), 'SCHEME' => 'https']
            : ['PORT' => $port, 'SCHEME' => 'http'];
        $host = str_starts_with($listen, '0.0.0.0:') ? "127.0.0.1:$port" : $listen;

        $variables = [$old ? 'BROADCAST_DRIVER' : 'BROADCAST_CONNECTION' => 'askr', 'ASKR_URL' => "http://$host"];
        foreach ($app as $name => $value) {
            $variables["ASKR_APP_$name"] = $value;
        }
        $key = $this->laravel['config']->get('broadcasting.connections.pusher.options.encryption_master_key_base64');
        if (\is_string($key) && $key !== '' && $env->get('ASKR_ENCRYPTION_KEY') === null) {
            $variables['ASKR_ENCRYPTION_KEY'] = $key;
        }
        if ($reverb) {
            // The pages are built with these, and Echo stays as it is.
            return $variables + [
                'REVERB_HOST' => $url['host'], 'REVERB_PORT' => $public['PORT'], 'REVERB_SCHEME' => $public['SCHEME'],
            ];
        }
        return $variables + ["{$prefix}ASKR_APP_KEY" => '${ASKR_APP_KEY}'] + [
            "{$prefix}ASKR_PORT" => $public['PORT'], "{$prefix}ASKR_SCHEME" => $public['SCHEME'],
        ];
    }

    private function toml(array $app, string $listen, array $origins): string
    {
        $flags = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR;
        $text = fn (string $value) => json_encode($value, $flags);
        $list = fn (array $values) => '[' . implode(', ', array_map($text, $values)) . ']';
        $listen = is_dir('/run/askr') ? ['unix:/run/askr/askrd.sock', $listen] : [$listen];
        $webhook = 'http://127.0.0.1:8000/' . ltrim((string) config('askr.webhook.route'), '/');
        return <<<TOML
            # Made by `php artisan askr:install`. /etc/askr/askr.toml, as it is shipped, explains each setting.

            [server]
            listen = {$list($listen)}

            [app]
            id = {$text($app['ID'])}
            key = {$text($app['KEY'])}
            secret = {$text($app['SECRET'])}
            allowed_origins = {$list($origins)}
            # Tells the application who comes and goes (Askr\Laravel\Events); no TLS, so an address on this machine.
            #webhook_url = {$text($webhook)}

            TOML;
    }

    /** routes/channels.php, and that it is loaded. Returns what is left to do by hand. */
    private function channels(Changes $changes): ?string
    {
        if ($changes->read('routes/channels.php') === null) {
            $changes->write('routes/channels.php', 'who may hear which channel', <<<'PHP'
                <?php

                use Illuminate\Support\Facades\Broadcast;

                Broadcast::channel('App.Models.User.{id}', fn ($user, $id) => (int) $user->id === (int) $id);

                PHP);
        }
        $bootstrap = $changes->read('bootstrap/app.php') ?? '';
        if (str_contains($bootstrap, '->withRouting(')) {
            if (! preg_match('#^(?!\s*//).*\bchannels:#m', $bootstrap)) {
                $bootstrap = preg_replace('#^(\s*)// *channels:.*$\n?#m', '', $bootstrap);
                $channels = "->withRouting(\n        channels: __DIR__.'/../routes/channels.php',";
                $bootstrap = str_replace('->withRouting(', $channels, $bootstrap);
                $changes->write('bootstrap/app.php', 'loads routes/channels.php', $bootstrap);
            }
            return null;
        }
        $provider = 'App\Providers\BroadcastServiceProvider::class';
        $config = $changes->read('config/app.php') ?? '';
        if (preg_match('#^(\s*)//\s*' . preg_quote($provider) . '#m', $config)) {
            $config = preg_replace('#^(\s*)//\s*(' . preg_quote($provider) . ')#m', '$1$2', $config);
            $changes->write('config/app.php', 'loads routes/channels.php', $config);
            return null;
        }
        $elsewhere = $bootstrap . ($changes->read('bootstrap/providers.php') ?? '');
        if (str_contains($config, $provider) || str_contains($elsewhere, 'BroadcastServiceProvider')) {
            return null;
        }
        return 'Call Broadcast::routes() and load routes/channels.php in a service provider: neither bootstrap/app.php '
            . 'nor config/app.php does.';
    }

    private function next(Page $page, string $kind, ?string $echo, array $origins, string $listen): void
    {
        $toml = $this->laravel->basePath('askr.toml');
        $this->line('');
        $this->info('Next:');
        if ($kind !== 'none') {
            $this->line('  ' . ($echo === 'REVERB' ? 'npm run build' : $page->commands($kind)));
        }
        if (is_dir('/etc/askr')) {
            $this->line("  sudo install -b -m 0640 -o root -g askr $toml /etc/askr/askr.toml    # keeps the old as askr.toml~");
            $this->line('  askrd check --config /etc/askr/askr.toml && sudo systemctl restart askrd');
        } else {
            $this->line("  askrd --config $toml    # to try it; README.md of Askr installs it as a service");
        }
        if (! \Askr\Extension::loaded()) {
            $this->line('  # The extension is not loaded: events go over HTTP, which works, and costs a request each.');
            if (PHP_OS_FAMILY === 'Linux') {
                $fpm = 'php' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION . '-fpm';
                $this->line("  sudo phpenmod askr && sudo systemctl restart $fpm");
            }
        }
        if (str_starts_with($origins[0], 'https://')) {
            $this->line("  # nginx, in the server block of $origins[0]:");
            $this->line('  include snippets/askr.conf; include snippets/askr-pusher.conf;');
        }
        $this->line('  php artisan askr:status');
    }

    /** Questions are for a person, and only where no flag answers them. */
    private function asks(): bool
    {
        return $this->input->isInteractive() && ! $this->option('dry-run');
    }

    private function fails(string $why): int
    {
        $this->error("Nothing was changed: $why.");
        return 2;
    }
}

<?php

namespace Askr\Laravel\Install;

/**
 * Echo in the application's pages, as Laravel's own installer sets it up: plain, React or Vue; built by Vite or by Mix.
 */
class Page
{
    public const KINDS = ['plain', 'react', 'vue', 'none'];
    private const PACKAGES = ['react' => '@laravel/echo-react', 'vue' => '@laravel/echo-vue'];
    private const FILES = [
        'react' => ['resources/js/app.tsx', 'resources/js/app.jsx', 'resources/js/app.js'],
        'vue' => ['resources/js/app.ts', 'resources/js/app.js'],
        'plain' => ['resources/js/bootstrap.js', 'resources/js/app.js', 'resources/js/bootstrap.ts', 'resources/js/app.ts'],
    ];

    public function __construct(private readonly Changes $changes)
    {
    }

    /** What package.json says the pages are made of. */
    public function kind(): string
    {
        $package = json_decode($this->changes->read('package.json') ?? '{}', true) ?: [];
        $uses = ($package['dependencies'] ?? []) + ($package['devDependencies'] ?? []);
        return isset($uses['react']) ? 'react' : (isset($uses['vue']) ? 'vue' : 'plain');
    }

    /** What names of variables begin with that are built into a page. */
    public function prefix(): string
    {
        return $this->changes->read('webpack.mix.js') !== null && $this->vite() === null ? 'MIX_' : 'VITE_';
    }

    private function vite(): ?string
    {
        return $this->changes->read('vite.config.js') ?? $this->changes->read('vite.config.ts') ?? $this->changes->read('vite.config.mjs');
    }

    /** The variables that Echo goes by already: "REVERB", "PUSHER", "ASKR"; null: there is no Echo. */
    public function echo(): ?string
    {
        foreach (array_merge(['resources/js/echo.js', 'resources/js/echo.ts'], ...array_values(self::FILES)) as $file) {
            $text = preg_replace('#^\s*//.*$#m', '', $this->changes->read($file) ?? '');
            if (preg_match('/new Echo\(|configureEcho\(/', $text)) {
                if (preg_match('/(?:VITE|MIX)_(REVERB|PUSHER|ASKR)_/', $text, $found)) {
                    return $found[1];
                }
                // Without options of its own it goes by VITE_REVERB_.
                return preg_match('/broadcaster:\s*[\'"]reverb[\'"]/', $text) ? 'REVERB' : '';
            }
        }
        return null;
    }

    /** @return string|null what is left to do by hand */
    public function setUp(string $kind): ?string
    {
        $echo = $this->echo();
        if ($kind === 'none' || $echo === 'ASKR' || $echo === 'REVERB') {
            return null;
        }
        if ($echo !== null) {
            return "Echo is set up already, and not for Askr. Give it these options:\n\n" . $this->options('    ');
        }
        if ($kind === 'plain') {
            return $this->plain();
        }
        foreach (self::FILES[$kind] as $file) {
            $text = $this->changes->read($file);
            if ($text !== null) {
                $setUp = "import { configureEcho } from '" . self::PACKAGES[$kind] . "';\n\nconfigureEcho({\n{$this->options('    ')}});\n";
                $this->changes->write($file, 'Echo for Askr', self::afterImports($text, $setUp));
                return null;
            }
        }
        return 'There is none of ' . implode(', ', self::FILES[$kind]) . ". Call configureEcho() where the pages begin:\n\n" . $this->options('    ');
    }

    private function plain(): ?string
    {
        $this->changes->write('resources/js/echo.js', 'Echo for Askr', "import Echo from 'laravel-echo';\n"
            . "import Pusher from 'pusher-js';\n\nwindow.Pusher = Pusher;\n\nwindow.Echo = new Echo({\n{$this->options('    ')}});\n");
        foreach (self::FILES['plain'] as $file) {
            $text = $this->changes->read($file);
            if ($text !== null) {
                $this->changes->write($file, 'loads echo.js', str_contains($text, './echo') ? $text : rtrim($text, "\n") . "\n\nimport './echo';\n");
                return null;
            }
        }
        return "Import './echo' in the script that the pages begin with.";
    }

    /** The page's own host is askrd's, unless the environment says another: so localhost and 127.0.0.1 both work. */
    private function options(string $indent): string
    {
        $env = $this->prefix() === 'MIX_' ? 'process.env.MIX_ASKR_' : 'import.meta.env.VITE_ASKR_';
        return implode('', array_map(fn (string $line) => "$indent$line,\n", [
            "broadcaster: 'reverb'",
            "key: {$env}APP_KEY",
            "wsHost: {$env}HOST || window.location.hostname",
            "wsPort: {$env}PORT ?? 80",
            "wssPort: {$env}PORT ?? 443",
            "forceTLS: ({$env}SCHEME ?? 'https') === 'https'",
            "enabledTransports: ['ws', 'wss']",
        ]));
    }

    /** The commands that install and build it. */
    public function commands(string $kind): string
    {
        $packages = 'laravel-echo pusher-js' . (isset(self::PACKAGES[$kind]) ? ' ' . self::PACKAGES[$kind] : '');
        $build = $this->prefix() === 'MIX_' ? 'npm run production' : 'npm run build';
        return match (true) {
            $this->changes->read('pnpm-lock.yaml') !== null => "pnpm add --save-dev $packages && pnpm run build",
            $this->changes->read('yarn.lock') !== null => "yarn add --dev $packages && yarn run build",
            default => "npm install --save-dev $packages && $build",
        };
    }

    private static function afterImports(string $text, string $added): string
    {
        $found = preg_match_all('/^import .+;?$/m', $text, $imports, PREG_OFFSET_CAPTURE);
        if (! $found) {
            return "$added\n$text";
        }
        [$last, $at] = end($imports[0]);
        return substr($text, 0, $at + \strlen($last)) . "\n$added" . substr($text, $at + \strlen($last));
    }
}

<?php

return [
    'name' => 'Askr test application',
    'env' => 'testing',
    'debug' => false,
    'url' => 'http://localhost',
    'timezone' => 'UTC',
    'locale' => 'en',
    'fallback_locale' => 'en',
    'key' => 'base64:' . base64_encode(str_repeat('k', 32)),
    'cipher' => 'AES-256-CBC',
    // The package is discovered where Composer installed it.
    'providers' => array_merge(array_map(fn (string $name) => "Illuminate\\$name", [
        'Auth\AuthServiceProvider', 'Broadcasting\BroadcastServiceProvider', 'Bus\BusServiceProvider', 'Cache\CacheServiceProvider',
        'Cookie\CookieServiceProvider', 'Database\DatabaseServiceProvider', 'Encryption\EncryptionServiceProvider',
        'Filesystem\FilesystemServiceProvider', 'Foundation\Providers\ConsoleSupportServiceProvider',
        'Foundation\Providers\FoundationServiceProvider', 'Hashing\HashServiceProvider', 'Notifications\NotificationServiceProvider',
        'Pipeline\PipelineServiceProvider', 'Queue\QueueServiceProvider', 'Session\SessionServiceProvider',
        'Translation\TranslationServiceProvider', 'Validation\ValidationServiceProvider', 'View\ViewServiceProvider',
    ]), [
        Askr\Laravel\AskrServiceProvider::class,
        App\Providers\AppServiceProvider::class,
    ]),
    'aliases' => ['Askr' => Askr\Laravel\Facades\Askr::class],
];

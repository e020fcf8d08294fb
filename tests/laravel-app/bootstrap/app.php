<?php

// A Laravel application as small as it gets: one controller, one queued job, and
// with BROADCAST_DRIVER=pusher Laravel's own broadcasting. Everything it writes
// goes to APP_STORAGE, so that the checkout stays clean.

require_once '/usr/share/php/Illuminate/autoload.php';

spl_autoload_register(function (string $class): void {
    $file = dirname(__DIR__) . '/app/' . str_replace('\\', '/', substr($class, 4)) . '.php';
    if (str_starts_with($class, 'App\\') && is_file($file)) {
        require $file;
    }
});

if (getenv('BROADCAST_DRIVER') === 'pusher') {
    require getenv('PUSHER_PHP') ?: dirname(__DIR__) . '/pusher/autoload.php';
}

$storage = getenv('APP_STORAGE') ?: throw new RuntimeException('APP_STORAGE is not set');
foreach (['framework/cache', 'framework/views', 'logs', 'bootstrap/cache'] as $directory) {
    @mkdir("$storage/$directory", 0777, true);
}

$app = new Illuminate\Foundation\Application(dirname(__DIR__));
$app->useStoragePath($storage);
foreach (['APP_PACKAGES_CACHE', 'APP_SERVICES_CACHE', 'APP_CONFIG_CACHE', 'APP_ROUTES_CACHE', 'APP_EVENTS_CACHE'] as $name) {
    $_ENV[$name] = $_SERVER[$name] = "$storage/bootstrap/cache/$name.php";
}

$app->singleton(Illuminate\Contracts\Http\Kernel::class, App\Http\Kernel::class);
$app->singleton(Illuminate\Contracts\Console\Kernel::class, App\Console\Kernel::class);
$app->singleton(Illuminate\Contracts\Debug\ExceptionHandler::class, Illuminate\Foundation\Exceptions\Handler::class);

return $app;

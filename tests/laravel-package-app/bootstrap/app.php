<?php

// A Laravel application with the package askr/laravel, and pages, sessions and users, as small as it gets. Everything it
// writes goes to APP_STORAGE, so that the checkout stays clean. A copy of it finds the checkout by ASKR_ROOT. LARAVEL_PHP names the autoload.php of another Laravel, and
// PUSHER_PHP that of Pusher's own library in place of the stand-in.

require_once getenv('LARAVEL_PHP') ?: '/usr/share/php/Illuminate/autoload.php';

spl_autoload_register(function (string $class): void {
    $root = getenv('ASKR_ROOT') ?: dirname(__DIR__, 3);
    $folders = ['App\\' => dirname(__DIR__) . '/app/', 'Askr\\Laravel\\' => "$root/laravel/src/", 'Askr\\' => "$root/clients/php/src/"];
    foreach ($folders as $prefix => $folder) {
        if (str_starts_with($class, $prefix)) {
            $file = $folder . strtr(substr($class, strlen($prefix)), '\\', '/') . '.php';
            if (is_file($file)) {
                require $file;
            }
            return;
        }
    }
    if (str_starts_with($class, 'Pusher\\')) {
        require_once getenv('PUSHER_PHP') ?: "$root/tests/laravel-app/pusher/autoload.php";
    }
});
require_once (getenv('ASKR_ROOT') ?: dirname(__DIR__, 3)) . '/clients/php/src/functions.php';

$storage = getenv('APP_STORAGE') ?: throw new RuntimeException('APP_STORAGE is not set');
foreach (['framework/cache', 'framework/views', 'framework/sessions', 'logs', 'bootstrap/cache'] as $directory) {
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

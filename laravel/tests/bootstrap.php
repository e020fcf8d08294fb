<?php

// The application of the tests brings its autoloader; PHPUnit's own is loaded already.
putenv('APP_STORAGE=' . sys_get_temp_dir() . '/askr-laravel-' . getmypid());
(require dirname(__DIR__, 2) . '/tests/laravel-package-app/bootstrap/app.php')->flush();

spl_autoload_register(function (string $class): void {
    if (str_starts_with($class, 'Askr\\Laravel\\Tests\\')) {
        require __DIR__ . '/' . strtr(substr($class, 19), '\\', '/') . '.php';
    }
});
register_shutdown_function(fn () => (new Illuminate\Filesystem\Filesystem)->deleteDirectory(getenv('APP_STORAGE')));

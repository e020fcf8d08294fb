<?php

namespace Askr\Laravel;

use Askr\Extension;
use Askr\Fallback;
use Askr\Laravel\Broadcasting\AskrBroadcaster;
use Askr\Laravel\Http\TakeCursor;
use Askr\Laravel\Http\TokenCookie;
use Askr\Laravel\Queue\CurrentJob;
use Illuminate\Auth\Events\Logout;
use Illuminate\Broadcasting\BroadcastManager;
use Illuminate\Container\Container;
use Illuminate\Contracts\Http\Kernel;
use Illuminate\Cookie\Middleware\EncryptCookies;
use Illuminate\Foundation\Http\Kernel as HttpKernel;
use Illuminate\Queue\Events\JobExceptionOccurred;
use Illuminate\Queue\Events\JobProcessed;
use Illuminate\Queue\Events\JobProcessing;
use Illuminate\Queue\Events\Looping;
use Illuminate\Support\ServiceProvider;

class AskrServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        if (! $this->app->configurationIsCached()) {
            $this->mergeConfig();
        }
        $this->app->singleton(AskrManager::class);
        $this->app->singleton(CurrentJob::class);

        // No static closures: some versions of Laravel bind them to the manager.
        $this->callAfterResolving(BroadcastManager::class, function (BroadcastManager $manager) {
            $manager->extend('askr', function ($app, array $config) {
                $askr = $app->make(AskrManager::class);
                return new AskrBroadcaster($askr->make($config), $askr, $config);
            });
        });
        $this->callAfterResolving('blade.compiler', function ($blade) {
            $blade->directive('askrMeta', fn () => '<?php echo app(\\' . AskrManager::class . '::class)->meta(); ?>');
        });
        // The browser brings the token to askrd as it is.
        $this->app->resolving(EncryptCookies::class, function (EncryptCookies $encrypt, $app) {
            $encrypt->disableFor($app['config']->get('askr.token.cookie', 'askr_token'));
        });
    }

    public function boot(): void
    {
        if (! Extension::loaded()) {
            // askr_broadcast() and the others go where this application's broadcasts go.
            Fallback::use(fn () => Container::getInstance()->make(AskrManager::class)->client());
        }
        if (! $this->app->routesAreCached()) {
            $this->loadRoutesFrom(__DIR__ . '/../routes/askr.php');
        }
        if ($this->app['config']->get('askr.cursor', true)) {
            $this->callAfterResolving(Kernel::class, function (Kernel $kernel) {
                // A kernel of the application's own may have no such group.
                if ($kernel instanceof HttpKernel && isset($kernel->getMiddlewareGroups()['web'])) {
                    $kernel->prependMiddlewareToGroup('web', TakeCursor::class);
                }
            });
        }
        $this->app['events']->listen(Logout::class, [TokenCookie::class, 'revoke']);
        if ($this->app->runningInConsole()) {
            $this->followJobs();
            $this->commands([
                Console\InstallCommand::class,
                Console\StatusCommand::class,
                Console\TailCommand::class,
                Console\ChannelsCommand::class,
                Console\DisconnectCommand::class,
            ]);
            $this->publishes([__DIR__ . '/../config/askr.php' => $this->app->configPath('askr.php')], 'askr-config');
        }
    }

    /** An application's config/askr.php may have only what it wants otherwise, also within a section. */
    private function mergeConfig(): void
    {
        $config = $this->app['config'];
        $own = $config->get('askr', []);
        foreach (require __DIR__ . '/../config/askr.php' as $key => $default) {
            $section = \is_array($default) && ! array_is_list($default);
            $own[$key] = $section ? array_merge($default, $own[$key] ?? []) : $own[$key] ?? $default;
        }
        $config->set('askr', $own);
        foreach ($config->get('askr.connections', []) as $name => $connection) {
            $own = $config->get("broadcasting.connections.$name", []);
            $config->set("broadcasting.connections.$name", array_merge(['driver' => 'askr', 'name' => $name], $connection, $own));
        }
    }

    /** Only a worker repeats jobs. */
    private function followJobs(): void
    {
        $events = $this->app['events'];
        $events->listen(JobProcessing::class, fn (JobProcessing $event) => $this->app->make(CurrentJob::class)->begin($event->job));
        $events->listen([JobProcessed::class, JobExceptionOccurred::class], fn () => $this->app->make(CurrentJob::class)->end());
        $events->listen(Looping::class, function () {
            // A listener's answer would decide whether the worker goes on.
            $this->app->make(CurrentJob::class)->clear();
        });
    }
}

<?php

namespace Askr\Laravel\Tests;

use Askr\Extension;
use Askr\Laravel\Facades\Askr;
use Illuminate\Auth\GenericUser;
use Illuminate\Contracts\Console\Kernel as ConsoleKernel;
use Illuminate\Contracts\Http\Kernel;
use Illuminate\Foundation\Application;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Facade;
use PHPUnit\Framework\TestCase as PhpUnit;
use Symfony\Component\HttpFoundation\Response;

/** The application of tests/laravel-package-app, made anew for each test, beside a real askrd. */
abstract class TestCase extends PhpUnit
{
    protected Application $app;
    private static int $names = 0;

    protected function setUp(): void
    {
        $this->app = $this->makeApplication();
    }

    protected function tearDown(): void
    {
        Facade::clearResolvedInstances();
        $this->app->flush();
        // Laravel's handlers, which PHPUnit would find risky.
        restore_error_handler();
        restore_exception_handler();
    }

    /** @param array<string, mixed> $config laid over the application's, before its providers are booted */
    protected function makeApplication(array $config = []): Application
    {
        $app = require dirname(__DIR__, 2) . '/tests/laravel-package-app/bootstrap/app.php';
        $app->afterBootstrapping(\Illuminate\Foundation\Bootstrap\LoadConfiguration::class, fn ($app) => $app['config']->set(
            $config + ['broadcasting.default' => 'askr', 'session.driver' => 'array', 'queue.default' => 'sync', 'queue.connections.sync' => ['driver' => 'sync']],
        ));
        $app->make(ConsoleKernel::class)->bootstrap();
        return $app;
    }

    /** Again, with other settings. */
    protected function configured(array $config): void
    {
        $this->tearDown();
        $this->app = $this->makeApplication($config);
    }

    protected function user(string $id): GenericUser
    {
        return new GenericUser(['id' => $id, 'remember_token' => null]);
    }

    /** A channel of this test's own, so that its history has nothing else. */
    protected function newName(string $prefix = ''): string
    {
        return $prefix . 'test-' . getmypid() . '-' . (Extension::loaded() ? 'x' : 'h') . '-' . ++self::$names;
    }

    protected function request(string $method, string $path, array $input = [], array $headers = [], ?string $user = null): Response
    {
        $server = ['HTTP_ACCEPT' => 'application/json', 'CONTENT_TYPE' => 'application/json'];
        foreach ($headers as $name => $value) {
            $server['HTTP_' . strtoupper(strtr($name, '-', '_'))] = $value;
        }
        $request = Request::create($path, $method, [], [], [], $server, \is_string($input['raw'] ?? null) ? $input['raw'] : json_encode($input));
        $this->app['auth']->forgetGuards();
        if ($user !== null) {
            $this->app['auth']->guard('web')->setUser($this->user($user));
        }
        return $this->app->make(Kernel::class)->handle($request);
    }

    protected function json(Response $response): array
    {
        return json_decode($response->getContent(), true);
    }

    /** @return list<array{?string, mixed}> names and decoded data of a channel's events, from askrd */
    protected function heard(string $channel): array
    {
        return array_map(fn ($event) => [$event['event'], json_decode($event['data'], true)], Askr::history($channel));
    }
}

<?php

namespace Askr\Laravel\Testing;

use Closure;
use Illuminate\Contracts\Broadcasting\Broadcaster;

/** Records broadcasts. All else is answered by the connection that it stands for, which is made only then. */
class BroadcasterFake implements Broadcaster
{
    private ?Broadcaster $made = null;

    /** @param Closure(): Broadcaster $real */
    public function __construct(
        private readonly string $connection,
        private readonly Closure $real,
        private readonly AskrFake $fake,
    ) {
    }

    public function broadcast(array $channels, $event, array $payload = [])
    {
        $except = $payload['socket'] ?? null;
        unset($payload['socket']);
        $payload = json_encode($payload, JSON_THROW_ON_ERROR);
        $this->fake->record($this->connection, array_map(strval(...), $channels), $event, $payload, $except);
    }

    public function auth($request)
    {
        return $this->real()->auth($request);
    }

    public function validAuthenticationResponse($request, $result)
    {
        return $this->real()->validAuthenticationResponse($request, $result);
    }

    public function __call(string $method, array $parameters): mixed
    {
        return $this->real()->$method(...$parameters);
    }

    private function real(): Broadcaster
    {
        return $this->made ??= ($this->real)();
    }
}

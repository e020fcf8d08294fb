<?php

namespace Askr\Laravel\Testing;

use Askr\Transport;

/** A ring in which nothing is, and that nobody listens to. */
class TransportFake implements Transport
{
    public function publish(
        array $channels,
        string $payload,
        ?string $event = null,
        ?string $id = null,
        ?int $retry = null,
        ?string $except = null,
        ?string $key = null,
    ): bool {
        return true;
    }

    public function cursor(): ?string
    {
        return '000000000000-0';
    }

    public function channels(?string $prefix = null): array
    {
        return [];
    }

    public function members(string $channel): array
    {
        return [];
    }

    public function history(string $channel, int $limit = 100, ?string $since = null, ?string $before = null): array
    {
        return [];
    }

    public function disconnectUser(string $user): ?int
    {
        return 0;
    }

    public function disconnectSocket(string $socketId): int
    {
        return 0;
    }

    public function forget(string $channel): int
    {
        return 0;
    }
}

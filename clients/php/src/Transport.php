<?php

namespace Askr;

/** How a PHP process reaches one application of askrd: by the extension, or over HTTP. */
interface Transport
{
    /**
     * @param list<string> $channels 1 to 100
     *
     * @return bool false only if publishing is switched off (askr.enabled = 0)
     *
     * @throws Exception if the event is not published
     * @throws \ValueError for an argument that is not allowed
     */
    public function publish(
        array $channels,
        string $payload,
        ?string $event = null,
        ?string $id = null,
        ?int $retry = null,
        ?string $except = null,
        ?string $key = null,
    ): bool;

    /** Where a page's stream begins so that it misses nothing; null if that is not known. */
    public function cursor(): ?string;

    /** @return array<string, int> subscribers of each channel */
    public function channels(?string $prefix = null): array;

    /** @return list<array{id: string, info: mixed}> */
    public function members(string $channel): array;

    /** @return list<array{event: string|null, id: string|null, cursor: string, data: string, time: float}> */
    public function history(string $channel, int $limit = 100, ?string $since = null, ?string $before = null): array;

    /** @return int|null connections ended; null if the transport is not told */
    public function disconnectUser(string $user): ?int;

    /** @return int connections ended */
    public function disconnectSocket(string $socketId): int;

    /** @return int events erased */
    public function forget(string $channel): int;
}

<?php

namespace Askr;

/** Publishes to the ring of this PHP (askr.ring), and asks askrd over its control socket. */
final class Extension implements Transport
{
    public static function loaded(): bool
    {
        return \extension_loaded('askr');
    }

    public function publish(
        array $channels,
        string $payload,
        ?string $event = null,
        ?string $id = null,
        ?int $retry = null,
        ?string $except = null,
        ?string $key = null,
    ): bool {
        // With askr.on_failure = warning there would be two reports of one failure: it is thrown below.
        if (@askr_broadcast($channels, $payload, $event, $id, $retry, $except, $key)) {
            return true;
        }
        $status = askr_status();
        if (! $status['enabled']) {
            return false;
        }
        throw new Exception('the event is not published: ' . ($status['reason'] ?? 'the ring could not take it'));
    }

    public function cursor(): ?string
    {
        return askr_cursor();
    }

    public function channels(?string $prefix = null): array
    {
        return askr_channels($prefix);
    }

    public function members(string $channel): array
    {
        return askr_members($channel);
    }

    public function history(string $channel, int $limit = 100, ?string $since = null, ?string $before = null): array
    {
        return askr_history($channel, $limit, $since, $before);
    }

    public function disconnectUser(string $user): ?int
    {
        return askr_disconnect_user($user);
    }

    public function disconnectSocket(string $socketId): int
    {
        return askr_disconnect_socket($socketId);
    }

    public function forget(string $channel): int
    {
        return askr_forget($channel);
    }
}

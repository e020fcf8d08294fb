<?php

// The functions of the extension over HTTP, where it is not loaded: what they do is documented in stubs/askr.php, and
// what is different in README.md. Within a condition, so that PHP does not declare them when the extension has.

use Askr\Fallback;

if (! \extension_loaded('askr')) {
    function askr_broadcast(
        array|string $channel,
        string $payload,
        ?string $event = null,
        ?string $id = null,
        ?int $retry = null,
        ?string $except = null,
        ?string $key = null,
    ): bool {
        return Fallback::instance()->broadcast($channel, $payload, $event, $id, $retry, $except, $key);
    }

    function askr_broadcast_all(array $events): int
    {
        return Fallback::instance()->broadcastAll($events);
    }

    function askr_register_event(string ...$names): void
    {
        Fallback::instance()->register(...$names);
    }

    function askr_events(): array
    {
        return Fallback::instance()->events();
    }

    function askr_cursor(): ?string
    {
        return null;
    }

    function askr_status(): array
    {
        return Fallback::instance()->status();
    }

    function askr_token(
        array $channels,
        int $ttl,
        ?string $user = null,
        ?array $info = null,
        ?array $patterns = null,
    ): string {
        return Fallback::instance()->client()->token($channels, $ttl, $user, $info, $patterns);
    }

    function askr_channels(?string $prefix = null): array
    {
        return Fallback::instance()->client()->channels($prefix);
    }

    function askr_members(string $channel): array
    {
        return Fallback::instance()->client()->members($channel);
    }

    function askr_disconnect_user(string $user): int
    {
        return Fallback::instance()->client()->disconnectUser($user) ?? 0;
    }

    function askr_disconnect_socket(string $socketId): int
    {
        return Fallback::instance()->client()->disconnectSocket($socketId);
    }

    function askr_disconnect(string $socketOrUser): int
    {
        return preg_match('/\A\d+\.\d+\z/', $socketOrUser) ? askr_disconnect_socket($socketOrUser) : askr_disconnect_user($socketOrUser);
    }

    function askr_history(string $channel, int $limit = 100, ?string $since = null, ?string $before = null): array
    {
        return Fallback::instance()->client()->history($channel, $limit, $since, $before);
    }

    function askr_forget(string $channel): int
    {
        return Fallback::instance()->client()->forget($channel);
    }
}

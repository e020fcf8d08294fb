<?php

namespace Askr;

/**
 * The same over Pusher's HTTP API of askrd, for where the extension is not: on macOS or Windows, on another host. It
 * costs a request for each event, and askrd has to be there. The name of an event that has none is "message", which is
 * what a page sees of it either way.
 */
final class HttpApi implements Transport
{
    public function __construct(private readonly HttpClient $http, private readonly Credentials $app)
    {
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
        if ($id !== null || $retry !== null) {
            throw new Exception('an event has an id or a retry time of its own only with the extension');
        }
        foreach ($channels as $channel) {
            Rule::channel($channel);
        }
        $body = ['name' => Rule::event($event ?? 'message'), 'data' => $payload, 'channels' => array_values($channels)];
        // askrd refuses an event with another; a page may send anything for its own.
        if (($except = Rule::socketId($except)) !== null) {
            $body['socket_id'] = $except;
        }
        if ($key !== null) {
            $body['idempotency_key'] = Rule::key($key);
        }
        try {
            $body = json_encode($body, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
        } catch (\JsonException $e) {
            throw new \ValueError("the payload must be UTF-8: {$e->getMessage()}", 0, $e);
        }
        $this->ask('POST', 'events', [], $body);
        return true;
    }

    public function cursor(): ?string
    {
        return null;
    }

    public function channels(?string $prefix = null): array
    {
        $query = ['info' => 'subscription_count'] + ($prefix === null ? [] : ['filter_by_prefix' => $prefix]);
        $channels = $this->ask('GET', 'channels', $query)['channels'] ?? [];
        return array_map(fn ($channel) => (int) ($channel['subscription_count'] ?? 0), $channels);
    }

    /** Pusher's HTTP API knows the ids of members, and not their info. */
    public function members(string $channel): array
    {
        $users = $this->ask('GET', 'channels/' . self::segment($channel) . '/users', missing: [])['users'] ?? [];
        return array_map(fn ($user) => ['id' => (string) $user['id'], 'info' => null], $users);
    }

    public function history(string $channel, int $limit = 100, ?string $since = null, ?string $before = null): array
    {
        $query = array_filter(['limit' => (string) $limit, 'since' => $since, 'before' => $before], fn ($value) => $value !== null);
        $page = $this->ask('GET', 'channels/' . self::segment($channel) . '/events', $query);
        $events = $page['events'] ?? [];
        if (isset($page['gap'])) {
            $place = $page['next'] ?? ($since === null ? $events[0]['cursor'] ?? $before : end($events)['cursor'] ?? $since);
            array_unshift($events, [
                'event' => 'askr:gap', 'id' => null, 'cursor' => (string) $place, 'data' => json_encode($page['gap']), 'time' => microtime(true),
            ]);
        }
        return $events;
    }

    public function disconnectUser(string $user): ?int
    {
        $this->ask('POST', 'users/' . self::segment($user) . '/terminate_connections', [], '{}');
        return null;
    }

    public function disconnectSocket(string $socketId): int
    {
        throw new Exception('one connection can be ended only with the extension, or by `askrd disconnect --socket`');
    }

    public function forget(string $channel): int
    {
        throw new Exception('a channel can be erased only with the extension, or by `askrd forget`');
    }

    /** Whether askrd answers, and knows this application by its secret: throws what is wrong. */
    public function check(): void
    {
        $this->ask('GET', 'channels', ['filter_by_prefix' => 'askr-check-', 'info' => 'subscription_count']);
    }

    /**
     * @param array<string, string> $query
     * @param array<mixed>|null $missing what 404 means, if it is an answer
     *
     * @return array<mixed>
     */
    private function ask(
        string $method,
        string $what,
        array $query = [],
        ?string $body = null,
        ?array $missing = null,
    ): array {
        $path = '/apps/' . self::segment($this->app->id) . "/$what";
        $query += ['auth_key' => $this->app->key, 'auth_timestamp' => (string) time(), 'auth_version' => '1.0'];
        if ($body !== null) {
            $query['body_md5'] = md5($body);
        }
        ksort($query);
        $plain = implode('&', array_map(fn ($name, $value) => "$name=$value", array_keys($query), $query));
        $query['auth_signature'] = $this->app->signature("$method\n$path\n$plain");

        $headers = $body === null ? [] : ['Content-Type' => 'application/json'];
        [$status, $answer] = $this->http->ask($method, "$path?" . http_build_query($query, '', '&', PHP_QUERY_RFC3986), $headers, $body);
        if ($status === 404 && $missing !== null) {
            return $missing;
        }
        if ($status !== 200) {
            throw new Exception("askrd answered $status: " . substr(strtok($answer, "\r\n") ?: 'nothing', 0, 300), $status);
        }
        $answer = json_decode($answer, true);
        return \is_array($answer) ? $answer : throw new Exception('askrd gave an answer that is no JSON');
    }

    /** What Pusher's channels are made of needs no escape, and is signed as it is sent. */
    private static function segment(string $text): string
    {
        return preg_match('/\A[A-Za-z0-9_\-=@,.;]+\z/', $text) ? $text : rawurlencode($text);
    }
}

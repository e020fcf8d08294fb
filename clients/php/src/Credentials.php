<?php

namespace Askr;

/**
 * An application's id, key and secret, as `[app]` of askr.toml has them, and what is signed by them: tokens, requests
 * of the HTTP API, subscriptions of Pusher's clients, webhooks.
 */
final class Credentials
{
    private const TOKEN_BYTES = 4000;
    private const TOKEN_CHANNELS = 100;
    private const TOKEN_TTL = 31 * 24 * 3600;
    public const INFO_BYTES = 1024;

    public function __construct(
        public readonly string $id,
        public readonly string $key,
        #[\SensitiveParameter] private readonly string $secret,
    ) {
    }

    /** A dump of an object that holds these shows no secret. */
    public function __debugInfo(): array
    {
        return ['id' => $this->id, 'key' => $this->key];
    }

    public function hasSecret(): bool
    {
        return $this->secret !== '';
    }

    public function signature(string $text): string
    {
        if (! $this->hasSecret()) {
            throw new Exception("application \"$this->id\" has no secret to sign by");
        }
        return hash_hmac('sha256', $text, $this->secret);
    }

    /** Compared in constant time. */
    public function verifies(string $text, string $signature): bool
    {
        return hash_equals($this->signature($text), $signature);
    }

    /** What a Pusher client shows when it subscribes, or signs in: "key:signature". */
    public function authorization(string ...$parts): string
    {
        return $this->key . ':' . $this->signature(implode(':', $parts));
    }

    /**
     * A token as askr_token() makes it, by this secret instead of askr.secret_file.
     *
     * @param array<string|\Stringable> $channels at most 100 with $patterns; a "*" in a name is a "*"
     * @param array<mixed>|null $info what members of presence channels see of the user
     * @param array<string|\Stringable>|null $patterns each with "*" at its end
     */
    public function token(
        array $channels,
        int $ttl,
        ?string $user = null,
        ?array $info = null,
        ?array $patterns = null,
    ): string {
        if ($ttl < 1 || $ttl > self::TOKEN_TTL) {
            throw new \ValueError('$ttl must be between 1 and ' . self::TOKEN_TTL . ' (seconds)');
        }
        if (\count($channels) + \count($patterns ?? []) > self::TOKEN_CHANNELS) {
            throw new \ValueError('$channels and $patterns must have at most ' . self::TOKEN_CHANNELS . ' elements together');
        }
        if ($user !== null) {
            Rule::user($user);
        }
        $claims = ['channels' => [], 'exact_channels' => []];
        foreach ($channels as $channel) {
            // Elsewhere a "*" at the end would be read as a pattern.
            $channel = Rule::channel((string) $channel);
            $claims[str_ends_with($channel, '*') ? 'exact_channels' : 'channels'][] = $channel;
        }
        foreach ($patterns ?? [] as $pattern) {
            if (! str_ends_with($pattern = Rule::channel((string) $pattern), '*')) {
                throw new \ValueError('$patterns must end with "*", and a channel is one of $channels');
            }
            $claims['channels'][] = $pattern;
        }
        if ($claims['exact_channels'] === []) {
            unset($claims['exact_channels']);
        }
        if ($user !== null) {
            $claims['sub'] = $user;
        }
        if ($info !== null) {
            if (\strlen(json_encode($info, JSON_THROW_ON_ERROR)) > self::INFO_BYTES) {
                throw new \ValueError('$info must be at most ' . self::INFO_BYTES . ' bytes long as JSON');
            }
            $claims['info'] = $info;
        }
        $now = time();
        $claims += ['iat' => $now, 'exp' => $now + $ttl];

        $signed = self::base64url('{"alg":"HS256","typ":"JWT"}') . '.'
            . self::base64url(json_encode($claims, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE));
        $token = $signed . '.' . self::base64url(hex2bin($this->signature($signed)));
        if (\strlen($token) > self::TOKEN_BYTES) {
            throw new \ValueError('$channels makes a token of more than ' . self::TOKEN_BYTES . ' bytes; a pattern takes less room');
        }
        return $token;
    }

    private static function base64url(string $bytes): string
    {
        return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
    }
}

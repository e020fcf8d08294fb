<?php

namespace Askr;

/**
 * One application of askrd, as PHP code uses it:
 *
 *     $askr = Askr\Client::connect('http://127.0.0.1:8080', id: 'shop', key: '…', secret: '…');
 *     $askr->channel('orders.7')->event('shipped')->data(['id' => 7])->send();
 */
class Client
{
    /** Channels of one event, which is askrd's limit. */
    public const CHANNELS = 100;
    /** Bytes of a key, 200 at most, that leave no room for the number of a part. */
    private const LONG_KEY = 190;
    /** What the names of encrypted channels begin with. */
    public const ENCRYPTED = 'private-encrypted-';

    /**
     * @param string|null $encryptionKey 32 bytes; channels that begin with private-encrypted- are encrypted by it
     */
    public function __construct(
        public readonly Transport $transport,
        public readonly ?Credentials $app = null,
        #[\SensitiveParameter] private readonly ?string $encryptionKey = null,
    ) {
        if ($encryptionKey !== null && \strlen($encryptionKey) !== 32) {
            throw new \ValueError('the encryption key must be 32 bytes long');
        }
    }

    public function __debugInfo(): array
    {
        return ['transport' => $this->transport::class, 'app' => $this->app];
    }

    /** By the extension where it is loaded; otherwise over HTTP to this address. */
    public static function connect(
        string $url = 'http://127.0.0.1:8080',
        string $id = 'askr',
        ?string $key = null,
        #[\SensitiveParameter] string $secret = '',
        float $timeout = 2.0,
        #[\SensitiveParameter] ?string $encryptionKey = null,
    ): static {
        $app = new Credentials($id, $key ?? $id, $secret);
        $transport = Extension::loaded() ? new Extension : new HttpApi(new HttpClient($url, $timeout), $app);
        return new static($transport, $app, $encryptionKey);
    }

    /** Begins an event. */
    public function channel(string|\Stringable ...$channels): PendingEvent
    {
        return new PendingEvent($this->publish(...), array_map(strval(...), $channels));
    }

    /** Text that is published while it is made. */
    public function stream(string|\Stringable $channel): TextStream
    {
        return new TextStream($this, (string) $channel);
    }

    /**
     * Publishes an event on any number of channels. With more than 100 it becomes several, and so it does for each
     * encrypted channel, whose subscribers alone can read it.
     *
     * @param array<string|\Stringable> $channels
     *
     * @return bool false if publishing is switched off
     *
     * @throws Exception if it is not published, or not on all of them
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
    ): bool {
        [$plain, $encrypted] = [[], []];
        foreach ($channels as $channel) {
            $channel = (string) $channel;
            if (str_starts_with($channel, self::ENCRYPTED)) {
                $encrypted[$channel] = $channel;
            } else {
                $plain[$channel] = $channel;
            }
        }
        if ($plain === [] && $encrypted === []) {
            throw new \ValueError('an event needs a channel');
        }
        if (\count($plain) > self::CHANNELS || $encrypted !== []) {
            // One that is refused later would leave the event on some of its channels.
            array_map(Rule::channel(...), [...$plain, ...$encrypted]);
        }
        $published = true;
        $part = 0;
        foreach (array_chunk($plain, self::CHANNELS) as $some) {
            $published = $this->transport->publish($some, $payload, $event, $id, $retry, $except, self::partKey($key, $part++));
        }
        foreach ($encrypted as $channel) {
            $sealed = Encryption::seal($payload, $channel, $this->encryptionKey());
            $published = $this->transport->publish([$channel], $sealed, $event, $id, $retry, $except, self::partKey($key, $part++));
        }
        return $published;
    }

    /** A key belongs to an application, so the parts of one event must not have the same. */
    private static function partKey(?string $key, int $part): ?string
    {
        if ($key === null || $part === 0) {
            return $key;
        }
        return \strlen($key) > self::LONG_KEY ? hash('sha256', "$key#$part") : "$key#$part";
    }

    public function cursor(): ?string
    {
        return $this->transport->cursor();
    }

    public function channels(?string $prefix = null): array
    {
        return $this->transport->channels($prefix);
    }

    public function members(string|\Stringable $channel): array
    {
        return $this->transport->members((string) $channel);
    }

    public function history(
        string|\Stringable $channel,
        int $limit = 100,
        ?string $since = null,
        ?string $before = null,
    ): array {
        return $this->transport->history((string) $channel, $limit, $since, $before);
    }

    public function disconnectUser(string|int $user): ?int
    {
        return $this->transport->disconnectUser((string) $user);
    }

    public function disconnectSocket(string $socketId): int
    {
        return $this->transport->disconnectSocket($socketId);
    }

    public function forget(string|\Stringable $channel): int
    {
        return $this->transport->forget((string) $channel);
    }

    /** By the secret of the application; without one by askr.secret_file. */
    public function token(
        array $channels,
        int $ttl,
        ?string $user = null,
        ?array $info = null,
        ?array $patterns = null,
    ): string {
        return $this->app === null
            ? askr_token($channels, $ttl, $user, $info, $patterns)
            : $this->app->token($channels, $ttl, $user, $info, $patterns);
    }

    public function encryptionKey(): string
    {
        return $this->encryptionKey ?? throw new Exception('encrypted channels need an encryption key');
    }
}

<?php

namespace Askr\Laravel;

use Askr\Credentials;
use Askr\Exception;
use Askr\Extension;
use Askr\HttpApi;
use Askr\HttpClient;
use Askr\Rule;
use Askr\TextStream;
use Askr\Transport;
use Illuminate\Broadcasting\Channel;
use Illuminate\Broadcasting\PresenceChannel;
use Illuminate\Broadcasting\PrivateChannel;
use Illuminate\Container\Container;
use Illuminate\Contracts\Broadcasting\HasBroadcastChannel;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Log;
use InvalidArgumentException;

/**
 * What the facade Askr offers. It keeps clients, and nothing of a request: those are taken from the container of the
 * moment, so that a worker which serves many requests mixes none.
 */
class AskrManager
{
    /** @var array<string, Client> */
    private array $clients = [];
    private ?EventNames $names = null;
    private ?bool $strict = null;

    /** Begins an event on public channels, or on those of Laravel's classes: new PrivateChannel('orders.7'). */
    public function channel(mixed ...$channels): PendingEvent
    {
        return new PendingEvent($this, null, self::names(...$channels));
    }

    public function private(mixed ...$channels): PendingEvent
    {
        return $this->channel(...array_map(fn ($channel) => new PrivateChannel($channel), $channels));
    }

    public function presence(mixed ...$channels): PendingEvent
    {
        return $this->channel(...array_map(fn ($channel) => new PresenceChannel($channel), $channels));
    }

    /** Text that is published while it is made; as(), from(), write(), end(): Askr\TextStream. */
    public function stream(mixed $channel, ?string $connection = null): TextStream
    {
        return $this->client($connection)->stream(self::names($channel)[0]);
    }

    /** The ring's place now. What a page was rendered with is cursorOf($request). */
    public function cursor(): ?string
    {
        return $this->client()->cursor();
    }

    /** The place that the middleware TakeCursor took before anything was read. */
    public function cursorOf(?Request $request = null): ?string
    {
        return ($request ?? $this->request())?->attributes->get(Http\TakeCursor::ATTRIBUTE);
    }

    /** For @askrMeta: clients begin there. Nothing where the place is not known. */
    public function meta(): string
    {
        $cursor = $this->cursorOf();
        return $cursor === null ? '' : '<meta name="askr-cursor" content="' . e($cursor) . '">';
    }

    /** What the ring still holds of a channel, as askr_history(). */
    public function history(mixed $channel, int $limit = 100, ?string $since = null, ?string $before = null): array
    {
        return $this->client()->history(self::names($channel)[0], $limit, $since, $before);
    }

    /** Who is on a presence channel; "team" is presence-team, too. */
    public function members(mixed $channel): array
    {
        $name = self::names($channel)[0];
        return $this->client()->members(str_starts_with($name, 'presence-') ? $name : "presence-$name");
    }

    /** Subscribers of each channel. */
    public function channels(?string $prefix = null): array
    {
        return $this->client()->channels($prefix);
    }

    /** Ends the connections of a user (a model, or an id), whose tokens issued until now are refused. */
    public function disconnect(mixed $user): ?int
    {
        return $this->client()->disconnectUser(UserId::of($user));
    }

    /** A token for a page or a device that has no cookie. */
    public function token(
        array $channels,
        ?int $ttl = null,
        mixed $user = null,
        ?array $info = null,
        ?array $patterns = null,
    ): string {
        $ttl ??= (int) $this->config('askr.token.ttl', 3600);
        return $this->client()->token(self::names(...$channels), $ttl, $user === null ? null : UserId::of($user), $info, $patterns);
    }

    /** The connection of the page that asks, if it says one. */
    public function socket(): ?string
    {
        return Rule::socketId($this->request()?->header('X-Socket-ID'));
    }

    public function client(?string $connection = null): Client
    {
        $connection ??= $this->defaultConnection();
        return $this->clients[$connection] ??= $this->make($this->connection($connection));
    }

    /** @param array<string, mixed> $config a connection of driver askr */
    public function make(array $config): Client
    {
        $app = $this->credentials($config);
        $client = new Client($this->transport($config, $app), $app, self::encryptionKey($config));
        return $client->silent(match ($config['on_failure'] ?? 'exception') {
            'exception' => false,
            'silent' => true,
            default => throw self::wrong($config, 'on_failure', '"exception" or "silent"'),
        });
    }

    /** @param array<string, mixed> $config a connection of driver askr */
    public function credentials(array $config): Credentials
    {
        $id = (string) ($config['id'] ?? 'askr');
        return new Credentials($id, (string) ($config['key'] ?? $id), (string) ($config['secret'] ?? ''));
    }

    /** The name, if an event may have it (askr.events, askr.strict); nothing is looked up where any may be. */
    public function eventName(?string $name): ?string
    {
        $this->strict ??= $this->config('askr.strict', false) || \ini_get('askr.strict');
        if ($this->strict) {
            $this->names ??= new EventNames((array) $this->config('askr.events', []), (bool) $this->config('askr.strict', false));
            $this->names->check($name);
        }
        return $name;
    }

    public function defaultConnection(): string
    {
        $default = $this->config('broadcasting.default');
        return $this->config("broadcasting.connections.$default.driver") === 'askr' ? $default : 'askr';
    }

    /** @return array<string, array<string, mixed>> those of driver askr, by name */
    public function connections(): array
    {
        return array_filter((array) $this->config('broadcasting.connections', []), fn ($one) => ($one['driver'] ?? null) === 'askr');
    }

    /** @return array<string, mixed> */
    public function connection(string $name): array
    {
        $config = $this->config("broadcasting.connections.$name");
        if (($config['driver'] ?? null) !== 'askr') {
            throw new InvalidArgumentException("broadcasting.connections.$name is no connection of driver \"askr\"");
        }
        return $config + ['name' => $name];
    }

    private function transport(array $config, Credentials $app): Transport
    {
        $over = $config['transport'] ?? 'auto';
        if (! \in_array($over, ['auto', 'extension', 'http'], true)) {
            throw self::wrong($config, 'transport', '"auto", "extension" or "http"');
        }
        if ($over === 'extension' && ! Extension::loaded()) {
            throw new Exception('the extension askr is not loaded, and broadcasting.connections.' . ($config['name'] ?? 'askr') . '.transport wants it');
        }
        if ($over !== 'http' && Extension::loaded() && ($over === 'extension' || self::ownsRing($config))) {
            return new Extension;
        }
        if ($over === 'auto' && ! Extension::loaded()) {
            $this->sayOnce($config);
        }
        return new HttpApi(new HttpClient((string) ($config['url'] ?? 'http://127.0.0.1:8080'), (float) ($config['timeout'] ?? 2.0)), $app);
    }

    /** A process has one ring, and events of another application do not belong there. */
    private static function ownsRing(array $config): bool
    {
        $ring = $config['ring'] ?? null;
        return $ring === null ? ($config['name'] ?? 'askr') === 'askr' : $ring === \ini_get('askr.ring');
    }

    /** That events go over HTTP is for the log once, not once a request: a file remembers it. */
    private function sayOnce(array $config): void
    {
        $app = Container::getInstance();
        $said = $app->storagePath() . '/framework/askr-over-http';
        if (is_file($said)) {
            return;
        }
        @touch($said);
        Log::info('Askr: the extension is not loaded, events go over HTTP to ' . ($config['url'] ?? '') . ' (php artisan askr:status)');
    }

    private static function encryptionKey(array $config): ?string
    {
        $key = $config['encryption_key'] ?? null;
        if ($key === null || $key === '') {
            return null;
        }
        $bytes = base64_decode($key, true);
        return $bytes !== false && \strlen($bytes) === 32 ? $bytes : throw self::wrong($config, 'encryption_key', '32 bytes in base64', false);
    }

    private static function wrong(
        array $config,
        string $key,
        string $allowed,
        bool $shown = true,
    ): InvalidArgumentException {
        $given = $shown ? ', ' . json_encode($config[$key]) . ' is not' : '';
        return new InvalidArgumentException('broadcasting.connections.' . ($config['name'] ?? 'askr') . ".$key must be $allowed$given");
    }

    /** @return list<string> */
    protected static function names(mixed ...$channels): array
    {
        $names = [];
        foreach ($channels as $channel) {
            if (is_iterable($channel)) {
                array_push($names, ...self::names(...$channel));
            } else {
                // Models are text by __toString(), and that is no name.
                $names[] = $channel instanceof HasBroadcastChannel ? (string) new Channel($channel) : (string) $channel;
            }
        }
        return $names;
    }

    private function request(): ?Request
    {
        $app = Container::getInstance();
        return $app->bound('request') ? $app->make('request') : null;
    }

    private function config(string $key, mixed $default = null): mixed
    {
        return Container::getInstance()->make('config')->get($key, $default);
    }
}

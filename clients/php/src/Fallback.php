<?php

namespace Askr;

/**
 * What the askr_* functions do where the extension is not loaded (functions.php): the same over HTTP, to the address in
 * ASKR_URL for the application in ASKR_APP_ID, ASKR_APP_KEY and ASKR_APP_SECRET, or to the client of use().
 */
final class Fallback
{
    private static ?self $instance = null;

    private bool $logged = false;
    private ?string $reason = null;
    private int $published = 0;
    /** @var array<string, true> */
    private array $events = [];

    private function __construct(private Client|\Closure|null $client, private readonly string $onFailure)
    {
    }

    /**
     * @param Client|\Closure(): Client $client a closure is called when the client is needed
     * @param string $onFailure as askr.on_failure: "silent", "log" (once), "warning" or "exception"
     */
    public static function use(Client|\Closure $client, string $onFailure = 'log'): void
    {
        self::$instance = new self($client, self::checked($onFailure));
    }

    public static function instance(): self
    {
        return self::$instance ??= self::fromEnvironment();
    }

    private static function fromEnvironment(): self
    {
        $onFailure = self::checked(self::variable('ASKR_ON_FAILURE') ?? 'log');
        $secret = self::variable('ASKR_APP_SECRET');
        if ($secret === null) {
            return new self(null, $onFailure);
        }
        $id = self::variable('ASKR_APP_ID') ?? 'askr';
        $app = new Credentials($id, self::variable('ASKR_APP_KEY') ?? $id, $secret);
        $http = new HttpClient(self::variable('ASKR_URL') ?? 'http://127.0.0.1:8080');
        return new self(new Client(new HttpApi($http, $app), $app), $onFailure);
    }

    private static function checked(string $onFailure): string
    {
        return \in_array($onFailure, ['silent', 'log', 'warning', 'exception'], true)
            ? $onFailure
            : throw new \ValueError("ASKR_ON_FAILURE must be silent, log, warning or exception, \"$onFailure\" is not");
    }

    private static function variable(string $name): ?string
    {
        $value = $_ENV[$name] ?? $_SERVER[$name] ?? getenv($name);
        return \is_string($value) && $value !== '' ? $value : null;
    }

    public function broadcast(
        array|string $channel,
        string $payload,
        ?string $event,
        ?string $id,
        ?int $retry,
        ?string $except,
        ?string $key,
    ): bool {
        $channels = array_values(array_unique(array_map(strval(...), (array) $channel)));
        if ($channels === [] || \count($channels) > Client::CHANNELS) {
            throw new \ValueError('askr_broadcast(): Argument #1 ($channel) must be 1 to ' . Client::CHANNELS . ' channels');
        }
        try {
            $this->client()->transport->publish($channels, $payload, $event, $id, $retry, $except, $key);
        } catch (Exception $e) {
            $this->failed($e);
            return false;
        }
        [$this->reason, $this->logged] = [null, false];
        $this->published++;
        return true;
    }

    public function broadcastAll(array $events): int
    {
        $argument = 'askr_broadcast_all(): Argument #1 ($events)';
        $known = array_flip(['channel', 'payload', 'event', 'id', 'retry', 'except', 'key']);
        foreach (array_values($events) as $n => $event) {
            if (! \is_array($event) || ! isset($event['channel'], $event['payload'])) {
                throw new \ValueError("$argument element $n must be an array with channel and payload");
            }
            if ($unknown = array_key_first(array_diff_key($event, $known))) {
                throw new \ValueError("$argument element $n has the unknown key \"$unknown\"");
            }
            self::check($event, "$argument element $n");
        }
        $published = 0;
        foreach ($events as $event) {
            if (! $this->broadcast(...$event + ['event' => null, 'id' => null, 'retry' => null, 'except' => null, 'key' => null])) {
                break;
            }
            $published++;
        }
        return $published;
    }

    /** All that askrd would refuse, so that none of several events is published if one of them is wrong. */
    private static function check(array $event, string $which): void
    {
        $isText = fn (mixed $value) => \is_string($value) || \is_int($value) || $value instanceof \Stringable;
        $channels = \is_array($event['channel']) ? $event['channel'] : [$event['channel']];
        $texts = ['channel' => $channels, 'payload' => [$event['payload']]];
        foreach (['event', 'id', 'except', 'key'] as $key) {
            $texts[$key] = isset($event[$key]) ? [$event[$key]] : [];
        }
        foreach ($texts as $key => $values) {
            if (array_filter($values, $isText) !== $values) {
                throw new \TypeError("$which: \"$key\" must be " . ($key === 'channel' ? 'text, or a list of it' : 'text'));
            }
        }
        if (isset($event['retry']) && ! \is_int($event['retry'])) {
            throw new \TypeError("$which: \"retry\" must be an int");
        }
        if ($channels === [] || \count($channels) > Client::CHANNELS) {
            throw new \ValueError("$which must have 1 to " . Client::CHANNELS . ' channels');
        }
        if (! preg_match('//u', (string) $event['payload'])) {
            throw new \ValueError("$which: the payload must be UTF-8");
        }
        try {
            array_walk($channels, fn ($channel) => Rule::channel((string) $channel));
            isset($event['event']) && Rule::event((string) $event['event']);
            isset($event['key']) && Rule::key((string) $event['key']);
        } catch (\ValueError $e) {
            throw new \ValueError("$which: {$e->getMessage()}", 0, $e);
        }
    }

    /** Names are kept so that code which registers them runs; askrd checks them, if app.strict says so. */
    public function register(string ...$names): void
    {
        foreach ($names as $name) {
            $this->events[Rule::event($name)] = true;
        }
    }

    public function events(): array
    {
        $names = array_map(strval(...), array_keys($this->events));
        sort($names, SORT_STRING);
        return $names;
    }

    /** As askr_status(): what a process knows without a ring. */
    public function status(): array
    {
        return [
            'enabled' => true, 'attached' => false, 'ring' => '',
            'reason' => $this->reason ?? 'the extension askr is not loaded: events go over HTTP',
            'epoch' => null, 'slots' => 0, 'slot_size' => 0, 'arena_size' => 0, 'writers' => 0, 'max_payload' => 0, 'tail' => 0,
            'history_seconds' => 0.0, 'daemon_alive' => false, 'daemon_read' => 0, 'published' => $this->published,
            'failures' => [], 'features' => [], 'keys_ignored' => 0,
        ];
    }

    public function client(): Client
    {
        if ($this->client instanceof \Closure) {
            $this->client = ($this->client)();
        }
        return $this->client ?? throw new Exception(
            'the extension askr is not loaded, and no ASKR_APP_SECRET (with ASKR_URL, ASKR_APP_ID, ASKR_APP_KEY) says how '
                . 'to publish over HTTP',
        );
    }

    private function failed(Exception $e): void
    {
        $this->reason = $e->getMessage();
        match ($this->onFailure) {
            'silent' => null,
            'log' => $this->logged || error_log("askr: {$e->getMessage()}"),
            'warning' => trigger_error("askr_broadcast(): {$e->getMessage()}", E_USER_WARNING),
            'exception' => throw $e,
        };
        $this->logged = true;
    }
}

<?php

namespace Askr;

/** An event that is being described. Nothing is published before send(). */
class PendingEvent
{
    protected ?string $event = null;
    protected string $payload = 'null';
    protected ?string $id = null;
    protected ?int $retry = null;
    protected ?string $except = null;
    protected ?string $key = null;

    /**
     * @param \Closure $publish takes what Client::publish() does
     * @param list<string> $channels
     */
    public function __construct(private readonly \Closure $publish, private readonly array $channels)
    {
    }

    /** Its name: a string, or the case of an enum (its value, or its name where it has none). */
    public function event(string|\UnitEnum $name): static
    {
        $this->event = $name instanceof \BackedEnum ? (string) $name->value : ($name instanceof \UnitEnum ? $name->name : $name);
        return $this;
    }

    /** What it says, which is sent as JSON. */
    public function data(mixed $data): static
    {
        return $this->raw(json_encode($data, JSON_THROW_ON_ERROR));
    }

    /** What it says, as it is: UTF-8. Pusher's clients want JSON. */
    public function raw(string $payload): static
    {
        $this->payload = $payload;
        return $this;
    }

    /** An id that the page sees instead of the cursor. Only with the extension. */
    public function id(?string $id): static
    {
        $this->id = $id;
        return $this;
    }

    /** Milliseconds a browser waits before it reconnects. Only with the extension. */
    public function retry(?int $milliseconds): static
    {
        $this->retry = $milliseconds;
        return $this;
    }

    /**
     * The connection that does not get it. What is no socket id, as a page may send anything for its own, leaves nobody
     * out.
     */
    public function except(?string $socketId): static
    {
        $this->except = Rule::socketId($socketId);
        return $this;
    }

    /** Of the events with one key, the first counts: a retry publishes nothing twice. */
    public function key(?string $key): static
    {
        $this->key = $key;
        return $this;
    }

    /**
     * @return bool false if publishing is switched off
     *
     * @throws Exception if it is not published
     * @throws \ValueError for what is not allowed
     */
    public function send(): bool
    {
        return ($this->publish)($this->channels, $this->payload, $this->event, $this->id, $this->retry, $this->except, $this->key);
    }
}

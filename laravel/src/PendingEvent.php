<?php

namespace Askr\Laravel;

use Askr;
use Illuminate\Contracts\Support\Arrayable;
use Illuminate\Contracts\Support\Jsonable;

/** An event that is being described, by Laravel's means. */
class PendingEvent extends Askr\PendingEvent
{
    /** @param list<string> $channels */
    public function __construct(private readonly AskrManager $askr, private ?string $connection, array $channels)
    {
        parent::__construct(fn (...$event) => $this->askr->client($this->connection)->publish(...$event), $channels);
    }

    public function event(string|\UnitEnum $name): static
    {
        parent::event($name);
        $this->askr->eventName($this->event);
        return $this;
    }

    /** Models, collections and resources become what they are in a response. */
    public function data(mixed $data): static
    {
        return match (true) {
            $data instanceof Jsonable && ! $data instanceof \JsonSerializable => $this->raw($data->toJson()),
            $data instanceof Arrayable && ! $data instanceof \JsonSerializable => parent::data($data->toArray()),
            default => parent::data($data),
        };
    }

    /** Not to the page that asked: the connection that the request names in X-Socket-ID. */
    public function toOthers(): static
    {
        return $this->except($this->askr->socket());
    }

    /** By another connection of broadcasting. */
    public function via(string $connection): static
    {
        $this->connection = $connection;
        return $this;
    }

    public function send(): bool
    {
        $this->askr->eventName($this->event);
        return parent::send();
    }
}

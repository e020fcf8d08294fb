<?php

namespace Askr\Laravel\Testing;

/** A broadcast that the fake recorded. */
final class Broadcast
{
    /**
     * @param string $connection of broadcasting
     * @param list<string> $channels by their whole names: private-orders.7
     * @param string|null $event its name, as pages hear it
     * @param mixed $data what pages get, decoded
     * @param bool $toOthers whether somebody is left out
     * @param object|null $source the broadcast event; null for the facade's
     */
    public function __construct(
        public readonly string $connection,
        public readonly array $channels,
        public readonly ?string $event,
        public readonly mixed $data,
        public readonly bool $toOthers = false,
        public readonly ?string $key = null,
        public readonly ?string $id = null,
        public readonly ?object $source = null,
    ) {
    }

    public function is(string $event): bool
    {
        return $this->event === $event || $this->source instanceof $event;
    }

    public function on(string $channel): bool
    {
        return \in_array($channel, $this->channels, true);
    }
}

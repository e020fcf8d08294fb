<?php

namespace Askr\Laravel\Events;

/** A channel has another number of subscribers. */
class SubscriptionCounted extends ChannelEvent
{
    public function __construct(string $connection, int $milliseconds, string $channel, public readonly int $count)
    {
        parent::__construct($connection, $milliseconds, $channel);
    }
}

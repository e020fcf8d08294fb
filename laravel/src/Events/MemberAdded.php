<?php

namespace Askr\Laravel\Events;

/** A user is on a presence channel, who was not. */
class MemberAdded extends ChannelEvent
{
    public function __construct(string $connection, int $milliseconds, string $channel, public readonly string $user)
    {
        parent::__construct($connection, $milliseconds, $channel);
    }
}

<?php

namespace Askr\Laravel\Events;

/** What askrd tells of a channel. */
abstract class ChannelEvent
{
    /**
     * @param string $connection of broadcasting, whose application it is
     * @param int $milliseconds since 1970, when it was sent
     */
    public function __construct(
        public readonly string $connection,
        public readonly int $milliseconds,
        public readonly string $channel,
    ) {
    }
}

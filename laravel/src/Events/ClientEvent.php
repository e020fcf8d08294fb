<?php

namespace Askr\Laravel\Events;

/** A subscriber sent an event to the others (a whisper of Echo: client-typing). */
class ClientEvent extends ChannelEvent
{
    /**
     * @param mixed $data as it was sent: text, mostly JSON
     * @param string|null $user on presence channels
     */
    public function __construct(
        string $connection,
        int $milliseconds,
        string $channel,
        public readonly string $event,
        public readonly mixed $data,
        public readonly string $socketId,
        public readonly ?string $user,
    ) {
        parent::__construct($connection, $milliseconds, $channel);
    }
}

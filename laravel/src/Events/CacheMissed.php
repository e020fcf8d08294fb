<?php

namespace Askr\Laravel\Events;

/** Somebody subscribed to a cache channel that has no last event: publish one. */
class CacheMissed extends ChannelEvent
{
}

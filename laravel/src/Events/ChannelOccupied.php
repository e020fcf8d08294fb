<?php

namespace Askr\Laravel\Events;

/** Somebody listens to a channel to which nobody did. */
class ChannelOccupied extends ChannelEvent
{
}

<?php

namespace Askr\Laravel\Events;

/** Nobody listens to a channel any more. */
class ChannelVacated extends ChannelEvent
{
}

<?php

namespace App\Events;

use Illuminate\Broadcasting\InteractsWithSockets;
use Illuminate\Broadcasting\PrivateChannel;
use Illuminate\Contracts\Broadcasting\ShouldBroadcast;

/** Queued. */
class OrderShipped implements ShouldBroadcast
{
    use InteractsWithSockets;

    /** Whether a second connection fails once, when the first has published. */
    public bool $dieOnce = false;

    public function __construct(public int $order)
    {
    }

    public function broadcastOn(): array
    {
        return [new PrivateChannel("orders.$this->order")];
    }

    public function broadcastAs(): string
    {
        return 'order.shipped';
    }

    public function broadcastWith(): array
    {
        return ['order' => $this->order, 'state' => 'shipped', 'text' => "Grüße / \u{1F69A}"];
    }

    public function broadcastConnections(): array
    {
        return $this->dieOnce ? [null, 'dies-once'] : [null];
    }
}

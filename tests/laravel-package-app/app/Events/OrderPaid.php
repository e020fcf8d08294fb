<?php

namespace App\Events;

use Illuminate\Broadcasting\Channel;
use Illuminate\Broadcasting\InteractsWithBroadcasting;
use Illuminate\Broadcasting\InteractsWithSockets;
use Illuminate\Broadcasting\PrivateChannel;
use Illuminate\Contracts\Broadcasting\ShouldBroadcastNow;

class OrderPaid implements ShouldBroadcastNow
{
    use InteractsWithBroadcasting, InteractsWithSockets;

    public function __construct(public int $order, public array $more = [])
    {
    }

    public function broadcastOn(): array
    {
        return [new Channel('orders'), new PrivateChannel("orders.$this->order")];
    }
}

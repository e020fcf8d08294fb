<?php

namespace App\Jobs;

use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;
use RuntimeException;

class ShipOrder implements ShouldQueue
{
    use Dispatchable, InteractsWithQueue, Queueable;

    public function __construct(private int $order)
    {
    }

    public function handle(): void
    {
        $payload = json_encode(['order' => $this->order, 'state' => 'shipped']);
        if (! askr_broadcast("order.$this->order", $payload, 'order.shipped')) {
            throw new RuntimeException('not published: ' . json_encode(askr_status()));
        }
    }
}

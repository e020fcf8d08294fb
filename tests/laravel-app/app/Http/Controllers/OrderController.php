<?php

namespace App\Http\Controllers;

use App\Events\OrderPaid;
use App\Jobs\ShipOrder;
use Illuminate\Http\JsonResponse;
use Illuminate\Routing\Controller;
use Illuminate\Support\Facades\Broadcast;

class OrderController extends Controller
{
    /** Publishes while the request runs, and leaves the second half to the queue. */
    public function store(int $order): JsonResponse
    {
        $published = askr_broadcast(
            channel: ['orders', "order.$order"],
            payload: json_encode(['order' => $order, 'state' => 'paid']),
            event: 'order.paid',
        );
        ShipOrder::dispatch($order);

        return response()->json(['published' => $published]);
    }

    /** Through Laravel's driver, to everybody but the page that asked. */
    public function paid(int $order): JsonResponse
    {
        broadcast(new OrderPaid($order))->toOthers();

        return response()->json(['socket' => Broadcast::socket()]);
    }
}

<?php

use Illuminate\Support\Facades\Broadcast;

Broadcast::channel('orders.{order}', fn ($user, int $order) => $order === 17);
Broadcast::channel('team', fn ($user) => ['name' => strtoupper($user->getAuthIdentifier())]);

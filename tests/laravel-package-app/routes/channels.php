<?php

use Illuminate\Support\Facades\Broadcast;

// "orders.*" is for everybody but of order 18; "ask" counts how often it was asked.
Broadcast::channel('orders.{order}', fn ($user, int $order) => $order !== 18);
Broadcast::channel('broken', fn () => throw new RuntimeException('this closure is broken'));
Broadcast::channel('aborted', fn () => abort(404));
Broadcast::channel('encrypted.{n}', fn () => true);
Broadcast::channel('admins', fn ($user) => true, ['guards' => ['admin']]);
Broadcast::channel('team', fn ($user) => ['name' => strtoupper((string) $user->getAuthIdentifier())]);
Broadcast::channel('party', fn ($user) => ['name' => strtoupper((string) $user->getAuthIdentifier())]);
Broadcast::channel('masks', fn ($user) => ['name' => 'somebody']);

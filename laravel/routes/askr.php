<?php

use Askr\Laravel\Http\TokenController;
use Askr\Laravel\Http\WebhookController;
use Illuminate\Support\Facades\Route;

if ($path = config('askr.token.route')) {
    Route::post($path, TokenController::class)->middleware(config('askr.token.middleware', ['web']))->name('askr.token');
}
if ($path = config('askr.webhook.route')) {
    Route::post($path, WebhookController::class)->middleware(config('askr.webhook.middleware', []))->name('askr.webhook');
}

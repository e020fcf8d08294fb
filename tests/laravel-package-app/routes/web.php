<?php

use App\Http\Controllers\LiveController;
use Illuminate\Support\Facades\Route;

Route::middleware('web')->group(function () {
    Route::get('/page', [LiveController::class, 'page']);
    Route::post('/login/{user}', [LiveController::class, 'login']);
    Route::post('/logout', [LiveController::class, 'logout']);
    Route::post('/orders/{order}/paid', [LiveController::class, 'paid'])->where('order', '[0-9]+');
    Route::post('/orders/{order}/shipped', [LiveController::class, 'shipped'])->where('order', '[0-9]+');
    Route::post('/orders/{order}/facade', [LiveController::class, 'facade'])->where('order', '[0-9]+');
    Route::post('/story', [LiveController::class, 'story']);
    Route::get('/asked', [LiveController::class, 'asked']);
});
Route::get('/bench', [LiveController::class, 'bench']);

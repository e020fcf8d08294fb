<?php

use App\Http\Controllers\OrderController;
use Illuminate\Support\Facades\Route;

Route::post('/orders/{order}', [OrderController::class, 'store'])->where('order', '[0-9]+');
Route::post('/orders/{order}/paid', [OrderController::class, 'paid'])->where('order', '[0-9]+');

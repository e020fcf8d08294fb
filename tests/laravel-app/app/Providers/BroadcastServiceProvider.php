<?php

namespace App\Providers;

use Illuminate\Auth\GenericUser;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\Broadcast;
use Illuminate\Support\ServiceProvider;

class BroadcastServiceProvider extends ServiceProvider
{
    public function boot(): void
    {
        // Who somebody is, is believed: nothing else of Laravel's own is replaced.
        Auth::viaRequest('header', function (Request $request) {
            $user = $request->header('X-User');
            return $user === null ? null : new GenericUser(['id' => $user]);
        });
        if (config('broadcasting.default') !== 'null') {
            Broadcast::routes(['middleware' => []]);
            require base_path('routes/channels.php');
        }
    }
}

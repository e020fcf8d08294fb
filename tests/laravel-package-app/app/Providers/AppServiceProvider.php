<?php

namespace App\Providers;

use Illuminate\Auth\GenericUser;
use Illuminate\Contracts\Auth\Authenticatable;
use Illuminate\Contracts\Auth\UserProvider;
use Illuminate\Foundation\Support\Providers\RouteServiceProvider;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\Broadcast;
use Illuminate\Support\Facades\Event;

class AppServiceProvider extends RouteServiceProvider
{
    public function boot(): void
    {
        Auth::provider('anybody', fn () => new class implements UserProvider {
            public function retrieveById($id)
            {
                return new GenericUser(['id' => $id, 'remember_token' => null]);
            }

            public function retrieveByToken($id, $token)
            {
                return null;
            }

            public function updateRememberToken(Authenticatable $user, $token)
            {
            }

            public function retrieveByCredentials(array $credentials)
            {
                return null;
            }

            public function validateCredentials(Authenticatable $user, array $credentials)
            {
                return false;
            }

            public function rehashPasswordIfRequired(Authenticatable $user, array $credentials, bool $force = false)
            {
            }
        });
        Auth::viaRequest('header', function (Request $request) {
            $user = $request->header('X-Admin');
            return $user === null ? null : new GenericUser(['id' => $user]);
        });
        $this->routes(fn () => require base_path('routes/web.php'));
        Broadcast::routes(['middleware' => ['web']]);
        if (method_exists(\Illuminate\Broadcasting\BroadcastManager::class, 'userRoutes')) {
            Broadcast::userRoutes(['middleware' => ['web']]);
        }
        if (is_file($channels = base_path('routes/channels.php'))) {
            require $channels;
        }
        Broadcast::extend('dies-once', function () {
            return new class extends \Illuminate\Broadcasting\Broadcasters\NullBroadcaster {
                public function broadcast(array $channels, $event, array $payload = [])
                {
                    $died = storage_path('died-once');
                    if (! is_file($died)) {
                        touch($died);
                        throw new \Illuminate\Broadcasting\BroadcastException('this connection dies once');
                    }
                }
            };
        });
        Event::listen('Askr\Laravel\Events\*', function (string $name, array $events) {
            $line = json_encode([class_basename($name), $events[0]->channel, $events[0]->user ?? null, $events[0]->event ?? null]);
            file_put_contents(storage_path('webhooks.log'), "$line\n", FILE_APPEND);
        });
    }
}

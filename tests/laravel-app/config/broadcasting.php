<?php

// Laravel 8's own, but for host, port and scheme, which later versions have.
return [
    'default' => env('BROADCAST_DRIVER', 'null'),
    'connections' => [
        'pusher' => [
            'driver' => 'pusher',
            'key' => env('PUSHER_APP_KEY'),
            'secret' => env('PUSHER_APP_SECRET'),
            'app_id' => env('PUSHER_APP_ID'),
            'options' => [
                'host' => env('PUSHER_HOST'),
                'port' => env('PUSHER_PORT'),
                'scheme' => env('PUSHER_SCHEME'),
                'useTLS' => env('PUSHER_SCHEME') === 'https',
            ],
        ],
        'null' => ['driver' => 'null'],
    ],
];

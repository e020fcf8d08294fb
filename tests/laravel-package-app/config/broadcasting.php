<?php

// Nothing of Askr is here: the package brings its connection along.
return [
    'default' => env('BROADCAST_DRIVER', 'null'),
    'connections' => [
        'pusher' => [
            'driver' => 'pusher',
            'key' => env('ASKR_APP_KEY'),
            'secret' => env('ASKR_APP_SECRET'),
            'app_id' => env('ASKR_APP_ID'),
            'options' => ['host' => '127.0.0.1', 'port' => parse_url(env('ASKR_URL', ''), PHP_URL_PORT), 'scheme' => 'http', 'useTLS' => false],
        ],
        'dies-once' => ['driver' => 'dies-once'],
        'log' => ['driver' => 'log'],
        'null' => ['driver' => 'null'],
    ],
];

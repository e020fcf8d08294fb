<?php

// What is not published is as here: `php artisan vendor:publish --tag=askr-config`.

return [

    /*
     * Applications of askrd, as connections of broadcasting: nothing has to be added to config/broadcasting.php. What
     * is there under the same name wins.
     */
    'connections' => [
        'askr' => [
            'driver' => 'askr',

            // As [app] in askr.toml has them.
            'id' => env('ASKR_APP_ID', 'askr'),
            'key' => env('ASKR_APP_KEY'),
            'secret' => env('ASKR_APP_SECRET'),

            // "auto": by the extension where it is loaded, over HTTP otherwise. "extension", "http": only so.
            'transport' => env('ASKR_TRANSPORT', 'auto'),

            // The ring (askr.ring in php.ini) that this application is published to. A PHP process has one: with
            // another in php.ini "auto" goes over HTTP. null: whichever php.ini has; of several connections only
            // "askr" may.
            'ring' => env('ASKR_RING'),

            // Where askrd listens, for HTTP and for the commands: an address, or "unix:/run/askr/askrd.sock".
            'url' => env('ASKR_URL', 'http://127.0.0.1:8080'),
            'timeout' => 2.0,

            // What happens when an event cannot be published: "exception" (a BroadcastException, as of Laravel's own
            // drivers) or "silent" (one line in the log for each outage).
            'on_failure' => env('ASKR_ON_FAILURE', 'exception'),

            // 32 bytes in base64, for channels that begin with private-encrypted-.
            'encryption_key' => env('ASKR_ENCRYPTION_KEY'),

            // Answers of /broadcasting/auth as JavaScript that calls ?callback=.
            'jsonp' => false,
        ],
    ],

    /*
     * One request, and one cookie, for all private and presence channels of a page.
     */
    'token' => [
        'route' => 'broadcasting/askr/token',   // null: there is none
        'middleware' => ['web'],
        'ttl' => 3600,                          // seconds; then the channels' closures are asked again
        'cookie' => 'askr_token',
        'paths' => ['/askr', '/app'],           // where askrd is, seen from the browser
        'domain' => null,
        'secure' => null,                       // null: as the request is
        'same_site' => 'lax',
        'revoke_on_logout' => true,             // ends the user's connections, on all devices
    ],

    /*
     * What askrd tells the application: app.webhook_url in askr.toml.
     */
    'webhook' => [
        'route' => 'broadcasting/askr/webhook', // null: there is none
        'middleware' => [],
        'queue' => false,                       // true, or the name of a queue: listeners run in a worker
    ],

    /*
     * The names that events may have: texts, or enums whose cases are names. With `strict`, another name is an error,
     * but for the class of a broadcast event.
     */
    'events' => [],
    'strict' => env('ASKR_STRICT', false),

    /*
     * Whether each page of the group `web` takes the ring's place before anything is read, for @askrMeta.
     */
    'cursor' => true,

];

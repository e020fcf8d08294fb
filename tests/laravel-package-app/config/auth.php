<?php

return [
    'defaults' => ['guard' => 'web', 'passwords' => 'users'],
    // App\Providers\AppServiceProvider says who they are.
    'guards' => ['web' => ['driver' => 'session', 'provider' => 'anybody'], 'admin' => ['driver' => 'header']],
    'providers' => ['anybody' => ['driver' => 'anybody']],
];

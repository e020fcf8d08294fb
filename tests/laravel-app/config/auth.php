<?php

return [
    'defaults' => ['guard' => 'header'],
    // App\Providers\BroadcastServiceProvider says what that is.
    'guards' => ['header' => ['driver' => 'header']],
    'providers' => [],
];

<?php

// Only what the tests want otherwise.
return [
    'token' => ['ttl' => (int) env('ASKR_TEST_TTL', 3600)],
];

<?php

// Nanoseconds a call, one round of each, as JSON: publish.php REDIS_SOCKET CALLS

[, $socket, $calls] = $argv;
$calls = (int) $calls;
$payload = str_repeat('x', 200);
$redis = new Redis();
$redis->connect($socket);

function measure(int $calls, callable $loop): float
{
    $start = hrtime(true);
    $loop($calls);
    return (hrtime(true) - $start) / $calls;
}

// The loops are written out: a callable inside them would cost more than what is measured.
$empty = function (int $n) use ($payload): void {
    for ($i = 0; $i < $n; $i++) empty_broadcast('bench', $payload);
};
$askr = function (int $n) use ($payload): void {
    for ($i = 0; $i < $n; $i++) askr_broadcast('bench', $payload);
};
$publish = function (int $n) use ($payload, $redis): void {
    for ($i = 0; $i < $n; $i++) $redis->publish('bench', $payload);
};

// Attach, and warm each up.
foreach ([$empty, $askr, $publish] as $loop) $loop(1000);
$failed = array_sum(askr_status()['failures'] ?? []);
echo json_encode([
    'empty' => measure($calls * 10, $empty),
    'askr' => measure($calls * 10, $askr),
    'redis' => measure($calls, $publish),
    'failed' => array_sum(askr_status()['failures'] ?? []) - $failed,
]);

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
$emptyCursor = function (int $n): void {
    for ($i = 0; $i < $n; $i++) empty_cursor();
};
$cursor = function (int $n): void {
    for ($i = 0; $i < $n; $i++) askr_cursor();
};
$askr = function (int $n) use ($payload): void {
    for ($i = 0; $i < $n; $i++) askr_broadcast('bench', $payload);
};
// Keys as they are used, each another one. They are made before: PHP's own work is not measured.
$keys = array_map(fn (int $n): string => sprintf('%032x', $n), range(1, 50_000));
$keyed = function (int $n) use ($payload, $keys): void {
    foreach ($keys as $key) askr_broadcast('bench', $payload, null, null, null, null, $key);
};
$unkeyed = function (int $n) use ($payload, $keys): void {
    foreach ($keys as $key) askr_broadcast('bench', $payload, null, null, null, null, null);
};
$publish = function (int $n) use ($payload, $redis): void {
    for ($i = 0; $i < $n; $i++) $redis->publish('bench', $payload);
};

// Attach, and warm each up.
foreach ([$empty, $emptyCursor, $cursor, $askr, $publish] as $loop) $loop(1000);
$failed = array_sum(askr_status()['failures'] ?? []);
echo json_encode([
    'empty' => measure($calls * 10, $empty),
    'emptyCursor' => measure($calls * 10, $emptyCursor),
    'cursor' => measure($calls * 10, $cursor),
    'askr' => measure($calls * 10, $askr),
    'unkeyed' => measure(count($keys), $unkeyed),
    'keyed' => measure(count($keys), $keyed),
    'redis' => measure($calls, $publish),
    'failed' => array_sum(askr_status()['failures'] ?? []) - $failed,
]);

<?php

// Nanoseconds a call, as JSON: publish.php REDIS_SOCKET CALLS. In slices of each in turns, of which the median is told:
// a slice in which something else had the processor says nothing about a call.

[, $socket, $calls] = $argv;
$calls = (int) $calls;
$payload = str_repeat('x', 200);
$redis = new Redis();
$redis->connect($socket);

const SLICE = 1000;

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
// Keys as they are used, each another one, made before: PHP's own work is not measured.
$keyed = function (int $n, array $keys) use ($payload): void {
    foreach ($keys as $key) askr_broadcast('bench', $payload, null, null, null, null, $key);
};
$unkeyed = function (int $n, array $keys) use ($payload): void {
    foreach ($keys as $key) askr_broadcast('bench', $payload, null, null, null, null, null);
};
$publish = function (int $n) use ($payload, $redis): void {
    for ($i = 0; $i < $n; $i++) $redis->publish('bench', $payload);
};

$loops = ['empty' => $empty, 'emptyCursor' => $emptyCursor, 'cursor' => $cursor, 'askr' => $askr, 'unkeyed' => $unkeyed,
    'keyed' => $keyed, 'redis' => $publish];
$failed = array_sum(askr_status()['failures'] ?? []);
// The first slice attaches and warms up.
for ($slice = -1; $slice < $calls / SLICE; $slice++) {
    foreach ($loops as $name => $loop) {
        $names = array_map(md5(...), array_map(strval(...), range($slice * SLICE, ($slice + 1) * SLICE - 1)));
        $start = hrtime(true);
        $loop(SLICE, $names);
        if ($slice >= 0) $ns[$name][] = (hrtime(true) - $start) / SLICE;
    }
}
$median = function (array $values): float {
    sort($values);
    return $values[intdiv(count($values), 2)];
};
echo json_encode(array_map($median, $ns) + ['failed' => array_sum(askr_status()['failures'] ?? []) - $failed]);

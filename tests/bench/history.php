<?php

// Microseconds a call, as JSON: history.php REDIS_SOCKET CALLS. The newest 100 events of 200 B, by askr_history() and by
// phpredis XREVRANGE on a kept connection, in turns.

[, $socket, $calls] = $argv;
$payload = str_repeat('x', 200);
$redis = new Redis();
$redis->connect($socket);
for ($n = 0; $n < 1_000; $n++) {
    askr_broadcast('bench', $payload);
    $redis->xAdd('bench', '*', ['data' => $payload]);
}
$µs = ['askr' => [], 'redis' => [], 'ping' => []];
for ($n = -10; $n < (int) $calls; $n++) {
    $t0 = hrtime(true);
    $events = askr_history('bench', 100);
    $t1 = hrtime(true);
    $entries = $redis->xRevRange('bench', '+', '-', 100);
    $t2 = hrtime(true);
    $redis->ping();
    $t3 = hrtime(true);
    if (count($events) !== 100 || count($entries) !== 100 || $events[99]['data'] !== $payload) {
        throw new RuntimeException(count($events) . ' events, ' . count($entries) . ' entries');
    }
    if ($n >= 0) {
        $µs['askr'][] = ($t1 - $t0) / 1e3;
        $µs['redis'][] = ($t2 - $t1) / 1e3;
        $µs['ping'][] = ($t3 - $t2) / 1e3;
    }
}
echo json_encode($µs);

<?php

// One event in a request of its own, as a page publishes it: nanoseconds of two looks at the clock, of askr_broadcast()
// between two, and of phpredis on a connection that the worker kept. ?redis=SOCKET

$payload = str_repeat('x', 200);
$redis = new Redis();
$redis->pconnect($_GET['redis']);
$redis->ping();
$t0 = hrtime(true);
$t1 = hrtime(true);
$published = askr_broadcast('bench', $payload);
$t2 = hrtime(true);
$redis->publish('bench', $payload);
$t3 = hrtime(true);
header('Content-Type: application/json');
echo json_encode(['clock' => $t1 - $t0, 'askr' => $t2 - $t1, 'redis' => $t3 - $t2, 'published' => $published]);

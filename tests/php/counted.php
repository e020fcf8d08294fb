<?php

// counted.php CHANNEL NAME COUNT SIZE PER_SECOND: publishes {"by":NAME,"n":0,"more":"x…"}, … as "counted", at
// this rate, so that several of it are at work at the same time.

[, $channel, $name, $count, $size, $rate] = $argv;
$more = str_repeat('x', (int) $size);
$start = hrtime(true);
for ($n = 0; $n < $count; $n++) {
    while (($early = $start + intdiv($n * 1_000_000_000, (int) $rate) - hrtime(true)) > 0) {
        usleep(intdiv($early, 1000) + 1);
    }
    if (!askr_broadcast($channel, json_encode(['by' => $name, 'n' => $n, 'more' => $more]), 'counted')) {
        throw new RuntimeException('not published: ' . json_encode(askr_status()));
    }
}

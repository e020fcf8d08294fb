<?php

// paced.php CHANNEL COUNT PER_SECOND: publishes "0 ", "1 ", … at this rate, and never waits for askrd.

[, $channel, $count, $rate] = $argv;
$start = hrtime(true);
for ($n = 0; $n < $count; $n++) {
    while (($early = $start + intdiv($n * 1_000_000_000, (int) $rate) - hrtime(true)) > 0) {
        usleep(intdiv($early, 1000) + 1);
    }
    if (!askr_broadcast($channel, "$n ")) {
        throw new RuntimeException('not published: ' . json_encode(askr_status()));
    }
}

<?php

// dashboard.php SECONDS RATE VIEWERS: publishes at this rate, one event in a hundred to "all", the others each to the channel
// of one viewer.

[, $seconds, $rate, $viewers] = $argv;
$start = hrtime(true);
for ($n = 0; $n < $seconds * $rate; $n++) {
    while (($early = $start + intdiv($n * 1_000_000_000, (int) $rate) - hrtime(true)) > 0) {
        usleep(intdiv($early, 1000) + 1);
    }
    $channel = $n % 100 === 0 ? 'all' : 'c' . $n * 7919 % $viewers;
    // As the load wants it: clocks that rise.
    if (!askr_broadcast($channel, sprintf('@%019d', hrtime(true)) . str_repeat('x', 180))) {
        throw new RuntimeException('not published: ' . json_encode(askr_status()));
    }
}

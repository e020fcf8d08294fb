<?php

// publisher.php SECONDS RATE CHANNELS: publishes for so many seconds at a rate that rises and falls, 1 being some hundred a
// second; CHANNELS as JSON: how often to each, beside the others. The same events at each run, but for their times.
// At a rate of 1 the channel "exports" has large ones besides, which fill the socket of a client that does not read.

[, $seconds, $rate, $channels] = $argv;
$weights = json_decode($channels, true);

function one_of(array $weights): string
{
    $at = mt_rand(1, array_sum($weights));
    foreach ($weights as $name => $weight) {
        if (($at -= $weight) <= 0) {
            return $name;
        }
    }
}

mt_srand(7);
$start = hrtime(true);
$published = 0;
$exported = 0;
while (($now = (hrtime(true) - $start) / 1e9) < $seconds) {
    // A wave, with a smaller one on it, and a rush after a while.
    $due = $rate * (110 * $now + 500 * (1 - cos($now / 9)) + 40 * (1 - cos($now / 1.3)) + 900 / (1 + exp(44 - $now)));
    for (; $published < $due; $published++) {
        $data = ['id' => $published, 'at' => microtime(true), 'value' => mt_rand(100, 99999) / 100];
        askr_broadcast(one_of($weights), json_encode($data), 'changed');
    }
    if ($rate >= 1) {
        for (; $exported < 3 * $now; $exported++) {
            askr_broadcast('exports', str_repeat('row,', 25_000));
        }
    }
    usleep(8_000);
}

<?php

// carried.php COUNT [CHANNEL [PREFIX]]: publishes COUNT events of 200 bytes, not faster than a ring's reader can follow.

[, $count] = $argv;
$channel = $argv[2] ?? 'bench';
$prefix = $argv[3] ?? 'x';
for ($i = 0; $i < $count; $i++) {
    if (!askr_broadcast($channel, str_pad("$prefix$i", 200, '.'))) {
        throw new RuntimeException(json_encode(askr_status()));
    }
    if ($i % 100 === 99) {
        usleep(1000);
    }
}

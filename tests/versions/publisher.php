<?php

// publisher.php NAME KEYED PER_SECOND DIR: publishes {"by":NAME,"n":0}, … at this rate until DIR/stop is there; after
// ten of them there is DIR/begun. KEYED: each event twice, with a key of its own where this askr.so knows keys. Prints
// how many there were.

[, $name, $keyed, $rate, $dir] = $argv;
$keys = (new ReflectionFunction('askr_broadcast'))->getNumberOfParameters() > 6;
$start = hrtime(true);
for ($n = 0; !file_exists("$dir/stop"); $n++) {
    if ($n === 10) {
        touch("$dir/begun");
    }
    while (($early = $start + intdiv($n * 1_000_000_000, (int) $rate) - hrtime(true)) > 0) {
        usleep(intdiv($early, 1000) + 1);
    }
    $payload = json_encode(['by' => $name, 'n' => $n]);
    $more = $keyed && $keys ? ['key' => "$name-$n"] : [];
    for ($times = 0; $times < ($keyed ? 2 : 1); $times++) {
        if (!askr_broadcast('news', $payload, ...$more)) {
            throw new RuntimeException('not published: ' . json_encode(askr_status()));
        }
    }
}
echo json_encode(['count' => $n, 'keys' => $keys, 'ignored' => askr_status()['keys_ignored'] ?? 0]);

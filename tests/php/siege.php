<?php

// siege.php SECONDS: publishes for healthy readers and for those who make events expensive, at a steady
// pace; prints {"news":N,"big":M} when it ends.
//
// news, private-news   a number, in turn: "0 ", "1 ", …
// big                  256 KiB that begin with their number, four at once
// wide-0 … wide-19     8 KB on all of them, every other one of control characters, which JSON sextuples
// cache-0-0 …          8 KB of control characters on 20 cache channels, 40 times
// name-N               each name once: fills the index of channels

const WIDE = 8000;
const BIG = 256 * 1024;
[, $seconds] = $argv;
$counts = ['news' => 0, 'big' => 0, 'wide' => 0, 'cache' => 0, 'name' => 0];

$names = fn (string $prefix): array => array_map(fn (int $k): string => "$prefix$k", range(0, 19));
$publish = function (string $what) use (&$counts, $names): void {
    $n = $counts[$what]++;
    match ($what) {
        'news' => askr_broadcast($n % 2 ? 'private-news' : 'news', "$n "),
        'big' => askr_broadcast('big', str_pad("$n ", BIG, 'x')),
        'wide' => askr_broadcast($names('wide-'), str_repeat($n % 2 ? "\x01" : 'x', WIDE)),
        'cache' => askr_broadcast($names('cache-' . $n % 40 . '-'), str_repeat("\x01", WIDE)),
        'name' => askr_broadcast("name-$n", 'x'),
    };
};

for ($n = 0; $n < 3000; $n++) $publish('name');
for ($n = 0; $n < 400; $n++) $publish('wide');
for ($n = 0; $n < 40; $n++) $publish('cache');

$start = hrtime(true);
for ($tick = 0; $tick < $seconds * 50; $tick++) {
    while (($early = $start + $tick * 20_000_000 - hrtime(true)) > 0) {
        usleep(intdiv($early, 1000) + 1);
    }
    $publish('news');
    for ($n = 0; $n < 4 && $tick % 25 === 0; $n++) $publish('big');
    if ($tick % 5 === 1) $publish('wide');
    if ($tick % 5 === 2) $publish('name');
    if ($tick % 10 === 3) $publish('cache');
}
echo json_encode(['news' => $counts['news'], 'big' => $counts['big']]), "\n";

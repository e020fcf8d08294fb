--TEST--
Payloads of every size arrive unchanged: inline, around the slot's end, in the arena, up to the limit
--INI--
askr.ring=/askr-phpt-sizes
memory_limit=256M
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
$limit = askr_status()['max_payload'];
$sizes = [0, 1, 7, 8, 9, 200, ...range(440, 480), 1023, 1024, 1025, 4096, 65535, 65536, 100000, $limit - 1, $limit];
$sent = [];
foreach ($sizes as $size) {
    // Three bytes a character, so that every cut at a wrong place shows.
    $sent[] = $payload = str_pad(mb_repeat('€', $size), $size, 'x');
    askr_broadcast(['sizes', 'more'], $payload, 'event') || exit("$size bytes were not published\n");
}
$received = array_column(events(count($sizes)), 'data');
var_dump(count($sent), $received === $sent, askr_status()['published'] === count($sent), $limit);

function mb_repeat(string $character, int $bytes): string
{
    return str_repeat($character, intdiv($bytes, strlen($character)));
}
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-sizes');
?>
--EXPECT--
int(56)
bool(true)
bool(true)
int(1048576)

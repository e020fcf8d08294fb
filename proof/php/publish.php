<?php
// A publisher of the torture, as `src/roles.rs` has one in Rust: self-describing events (see
// `src/payload.rs`), and one byte for each call, written before the next one.
// CLI: publish.php DIR ID KEY SEED FROM COUNT MAX; php-fpm: the same, in the query string.
[$dir, $id, $key, $seed, $from, $count, $max] = PHP_SAPI === 'cli'
    ? array_slice($argv, 1)
    : explode(' ', rawurldecode($_SERVER['QUERY_STRING']));
mt_srand((int) $seed + (int) $from);
$filler = str_repeat('The quick brown fox jumps over the lazy dog 0123456789. ', intdiv((int) $max, 50) + 100);
$acks = fopen("$dir/ack-$id", 'ab');
stream_set_write_buffer($acks, 0);
for ($n = (int) $from; $n < $from + $count; $n++) {
    $kind = mt_rand(0, 99);
    $len = mt_rand(0, match (true) { $kind < 70 => 400, $kind < 92 => 8192, $kind < 99 => 65536, default => (int) $max });
    $data = substr($filler, $n * 31 % 53, $len);
    $mark = hash('xxh64', sprintf('%08x.%012x.%d.', $id, $n, $len) . $data, false, ['seed' => (int) $key]);
    $said = askr_broadcast('proof', $data, id: sprintf('%08x.%012x.%s', $id, $n, $mark));
    fwrite($acks, $said ? '1' : '0');
    if (mt_rand(0, 3) === 0) {
        usleep(mt_rand(0, 2000));
    }
}
echo 'done';

--TEST--
askr_status() tells sizes, positions, counts and age
--INI--
askr.ring=/askr-phpt-status
askr.on_failure=silent
--FILE--
<?php
require __DIR__ . '/ring.inc';
askr_broadcast('a', 'too early');
$askrd = new Askrd(['RING_SLOTS' => 1024, 'RING_ARENA' => 1 << 20, 'RING_WRITERS' => 64]);
$first = askr_status();
for ($n = 0; $n < 3; $n++) {
    askr_broadcast('a', 'x');
}
$last = askr_status();
$same = ['enabled', 'attached', 'ring', 'epoch', 'slots', 'slot_size', 'arena_size', 'writers', 'max_payload'];
var_dump(array_map(fn ($key) => $first[$key] === $last[$key], $same) === array_fill(0, count($same), true));
var_dump($last['slots'], $last['slot_size'], $last['arena_size'], $last['writers'], $last['max_payload']);
var_dump(preg_match('/^[0-9a-f]{12}$/', $last['epoch']), $last['tail'] - $first['tail'], $last['published'], $last['failures']['missing']);
var_dump($first['history_seconds'], $last['history_seconds'] > 0, $last['history_seconds'] < askr_status()['history_seconds']);
var_dump($last['reason'], $last['daemon_alive']);
var_dump($first['features'], $last['keys_ignored'], $last['failures']['unsupported']);
wait_until(fn () => askr_status()['daemon_read'] === $last['tail']);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-status');
?>
--EXPECT--
bool(true)
int(1024)
int(512)
int(1048576)
int(64)
int(65536)
int(1)
int(3)
int(3)
int(1)
float(0)
bool(true)
bool(true)
NULL
bool(true)
array(4) {
  [0]=>
  string(3) "key"
  [1]=>
  string(5) "topic"
  [2]=>
  string(8) "imported"
  [3]=>
  string(3) "gap"
}
int(0)
int(0)

--TEST--
A ring replaced by one of another size is followed; nothing published is lost, the epoch stays
--INI--
askr.ring=/askr-phpt-replaced
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd(['RING_SLOTS' => 1024]);
$results = [];
foreach (range(1, 5) as $n) {
    $results[] = askr_broadcast('a', "before $n");
}
$before = askr_status();
$askrd->stop();
$results[] = askr_broadcast('a', 'meanwhile');

$askrd = new Askrd(['RING_SLOTS' => 4096]);
foreach (range(1, 5) as $n) {
    $results[] = askr_broadcast('a', "after $n");
}
$after = askr_status();
var_dump(array_unique($results), $before['slots'], $after['slots'], $before['epoch'] === $after['epoch'],
    $after['tail'] > $before['tail'], $after['published'], $after['reason'], array_sum($after['failures']));
wait_until(fn () => askr_status()['daemon_read'] === $after['tail']);
echo "askrd has read it all\n";
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-replaced');
?>
--EXPECT--
array(1) {
  [0]=>
  bool(true)
}
int(1024)
int(4096)
bool(true)
bool(true)
int(11)
NULL
int(0)
askrd has read it all

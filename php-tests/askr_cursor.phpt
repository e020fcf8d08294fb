--TEST--
askr_cursor() is the ring's place as browsers hold it: what was published is at or before it, what comes is after
--INI--
askr.ring=/askr-phpt-cursor
askr.on_failure=exception
--FILE--
<?php
require __DIR__ . '/ring.inc';
$place = function (): int {
    [$epoch, $position] = explode('-', askr_cursor());
    return $epoch === askr_status()['epoch'] ? (int) $position : throw new LogicException('another epoch');
};
$askrd = new Askrd(['RING_SLOTS' => 1024]);
// A first call attaches; the text is that of the cursor of an event.
var_dump(preg_match('/^[0-9a-f]{12}-[1-9][0-9]*$/', askr_cursor()), $place() === askr_status()['tail'] - 1);
$empty = $place();
askr_broadcast('a', '1');
askr_broadcast('a', '2');
var_dump($place() - $empty);
$events = events(2);
var_dump(askr_cursor() === $events[1]['cursor']);

echo "askrd is stopped and killed, and comes back with another size\n";
$askrd->stop(SIGKILL);
$last = $place();
wait_until(fn () => !askr_status()['daemon_alive']);
var_dump($place() === $last, askr_broadcast('a', '3'), $place() === $last + 1);
$askrd = new Askrd(['RING_SLOTS' => 2048]);
$replaced = $place();
var_dump($replaced > $last, askr_broadcast('a', '4'), $place() > $replaced);

echo "another process\n";
var_dump(php('echo askr_cursor();') === askr_cursor());
told(fn () => askr_cursor(1));
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-cursor');
?>
--EXPECT--
int(1)
bool(true)
int(2)
bool(true)
askrd is stopped and killed, and comes back with another size
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
another process
bool(true)
ArgumentCountError: askr_cursor() expects exactly 0 arguments, 1 given

--TEST--
Publishing goes on while askrd is down, and askrd finds everything when it is back
--INI--
askr.ring=/askr-phpt-down
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
var_dump(askr_broadcast('a', 'up'));
wait_until(fn () => askr_status()['daemon_read'] === askr_status()['tail']);
var_dump(askr_status()['daemon_alive']);

$askrd->stop(SIGKILL);
wait_until(fn () => !askr_status()['daemon_alive']);
$results = [];
for ($n = 1; $n <= 3; $n++) {
    $results[] = askr_broadcast('a', "down $n");
}
var_dump($results === [true, true, true]);
$status = askr_status();
var_dump($status['attached'], $status['reason'], $status['tail'] - $status['daemon_read']);
// Also a process that starts only now.
echo php('var_dump(askr_broadcast("a", "from another process"));');

$askrd = new Askrd();
wait_until(fn () => askr_status()['daemon_read'] === askr_status()['tail']);
var_dump(askr_status()['daemon_alive'], askr_status()['epoch'] === $status['epoch']);
show(5);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-down');
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
bool(true)
NULL
int(3)
bool(true)
bool(true)
bool(true)
a {} up
a {} down 1
a {} down 2
a {} down 3
a {} from another process

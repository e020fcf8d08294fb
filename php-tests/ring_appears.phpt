--TEST--
A ring that appears later is used from the next call on, without a restart of PHP
--INI--
askr.ring=/askr-phpt-appears
askr.on_failure=silent
--FILE--
<?php
require __DIR__ . '/ring.inc';
var_dump(askr_broadcast('a', 'too early'));
$before = askr_status();
var_dump($before['attached'], $before['reason'], $before['epoch'], $before['slots'], $before['max_payload'], $before['daemon_alive']);

$askrd = new Askrd();
var_dump(askr_broadcast('a', 'in time'));
$after = askr_status();
var_dump($after['attached'], $after['reason'], $after['published'], $after['failures']['missing']);
show(1);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-appears');
?>
--EXPECT--
bool(false)
bool(false)
string(90) "the ring /askr-phpt-appears (/dev/shm/askr-phpt-appears) does not exist; is askrd running?"
NULL
int(0)
int(0)
bool(false)
bool(true)
bool(true)
NULL
int(1)
int(1)
a {} in time

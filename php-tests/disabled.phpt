--TEST--
askr.enabled = 0: arguments are checked, nothing is published, nothing is told
--INI--
askr.ring=/askr-phpt-disabled
askr.enabled=0
askr.on_failure=exception
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
$tail = fn () => php('echo askr_status()["tail"];', ['askr.enabled' => '1']);
$before = $tail();
var_dump(askr_broadcast('a', 'x'), askr_broadcast(['a', 'b'], 'x', 'event'));
told(fn () => askr_broadcast('', 'x'));
told(fn () => askr_broadcast('a', "\xff"));
told(fn () => askr_broadcast('a', 'x', retry: -1));
told(fn () => askr_broadcast('a', []));
$status = askr_status();
var_dump($status['enabled'], $status['attached'], $status['ring'], $status['reason'], $status['published'], array_sum($status['failures']));
var_dump($tail() === $before);
echo php('var_dump(askr_broadcast("a", "x"), askr_status()["enabled"]);', ['askr.enabled' => 'On']);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-disabled');
?>
--EXPECT--
bool(false)
bool(false)
ValueError: askr_broadcast(): Argument #1 ($channel) cannot be empty
ValueError: askr_broadcast(): Argument #2 ($payload) must be valid UTF-8
ValueError: askr_broadcast(): Argument #5 ($retry) must be between 0 and 4294967295 (milliseconds)
TypeError: askr_broadcast(): Argument #2 ($payload) must be of type string, array given
bool(false)
bool(false)
string(19) "/askr-phpt-disabled"
string(28) "disabled by askr.enabled = 0"
int(0)
int(0)
bool(true)
bool(true)
bool(true)

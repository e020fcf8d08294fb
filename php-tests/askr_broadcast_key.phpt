--TEST--
askr_broadcast() with a key: of the events with one key the first counts; a bad key is refused
--INI--
askr.ring=/askr-phpt-key
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
foreach (['', str_repeat('k', 201), "a\r", "\n", "a\0b", "\xff", new stdClass] as $key) {
    told(fn () => askr_broadcast('a', 'x', key: $key));
}
echo askr_status()['published'], " published\n";

foreach ([str_repeat('k', 200), 'order-42', 'order-42', '0123456789ab-42', 42, '42', null, null] as $n => $key) {
    told(fn () => askr_broadcast('a', "$n", null, null, null, null, $key));
}
// Another process, and another channel: the key is the application's.
echo php('var_dump(askr_broadcast("b", "8", key: "order-42"), askr_broadcast("b", "9", key: "order-43"));');
wait_until(fn () => askr_status()['daemon_read'] === askr_status()['tail']);
var_dump(askr_status()['keys_ignored']);
show(6);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-key');
?>
--EXPECT--
ValueError: askr_broadcast(): Argument #7 ($key) cannot be empty
ValueError: askr_broadcast(): Argument #7 ($key) must be at most 200 bytes long
ValueError: askr_broadcast(): Argument #7 ($key) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #7 ($key) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #7 ($key) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #7 ($key) must be valid UTF-8
TypeError: askr_broadcast(): Argument #7 ($key) must be of type ?string, stdClass given
0 published
true
true
true
true
true
true
true
true
bool(true)
bool(true)
int(0)
a {} 0
a {} 1
a {} 3
a {} 4
a {} 6
a {} 7

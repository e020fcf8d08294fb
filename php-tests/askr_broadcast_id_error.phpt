--TEST--
askr_broadcast() refuses ids that are empty, too long, shaped like a cursor or not one line of text
--INI--
askr.ring=/askr-phpt-id-error
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
foreach (['', str_repeat('i', 201), "a\r", "\n", "a\0b", "\xff", '0123456789ab-42', new stdClass] as $id) {
    told(fn () => askr_broadcast('a', 'x', null, $id));
}
echo askr_status()['published'], " published\n";
foreach ([str_repeat('i', 200), 'order-42', '0123456789ab', '0123456789ab-', '550e8400-e29b-41d4-a716-446655440000'] as $id) {
    told(fn () => askr_broadcast('a', 'x', null, $id));
}
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-id-error');
?>
--EXPECT--
ValueError: askr_broadcast(): Argument #4 ($id) cannot be empty
ValueError: askr_broadcast(): Argument #4 ($id) must be at most 200 bytes long
ValueError: askr_broadcast(): Argument #4 ($id) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #4 ($id) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #4 ($id) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #4 ($id) must be valid UTF-8
ValueError: askr_broadcast(): Argument #4 ($id) must not have the form of a cursor (12 hexadecimal digits, a dash, digits; or a tilde and 8 or more of A-Z, a-z, 0-9, - and _)
TypeError: askr_broadcast(): Argument #4 ($id) must be of type ?string, stdClass given
0 published
true
true
true
true
true

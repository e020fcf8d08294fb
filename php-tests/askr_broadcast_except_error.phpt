--TEST--
askr_broadcast() refuses socket ids that are empty, too long or not one line of text
--INI--
askr.ring=/askr-phpt-except-error
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
foreach (['', str_repeat('1', 101), "1.2\n", "\r", "1\0", "\xff", [1]] as $except) {
    told(fn () => askr_broadcast('a', 'x', except: $except));
}
echo askr_status()['published'], " published\n";
told(fn () => askr_broadcast('a', 'x', except: str_repeat('1', 100)));
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-except-error');
?>
--EXPECT--
ValueError: askr_broadcast(): Argument #6 ($except) cannot be empty
ValueError: askr_broadcast(): Argument #6 ($except) must be at most 100 bytes long
ValueError: askr_broadcast(): Argument #6 ($except) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #6 ($except) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #6 ($except) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #6 ($except) must be valid UTF-8
TypeError: askr_broadcast(): Argument #6 ($except) must be of type ?string, array given
0 published
true

--TEST--
askr_broadcast() and askr_status() count their arguments; the first wrong one is told
--INI--
askr.ring=/askr-phpt-count-error
askr.on_failure=silent
--FILE--
<?php
require __DIR__ . '/ring.inc';
told(fn () => askr_broadcast());
told(fn () => askr_broadcast('a'));
told(fn () => askr_broadcast('a', 'x', null, null, null, null, null, null));
told(fn () => askr_status(1));
// Types of all arguments first, then values from left to right.
told(fn () => askr_broadcast('', 'x', null, null, []));
told(fn () => askr_broadcast('', "\xff", ''));
told(fn () => askr_broadcast('a', "\xff", ''));
told(fn () => askr_broadcast(['a', 'b'], 'x', 'e', '', -1, ''));
told(fn () => askr_broadcast('a', 'x', 'e', 'i', -1, ''));
?>
--EXPECT--
ArgumentCountError: askr_broadcast() expects at least 2 arguments, 0 given
ArgumentCountError: askr_broadcast() expects at least 2 arguments, 1 given
ArgumentCountError: askr_broadcast() expects at most 7 arguments, 8 given
ArgumentCountError: askr_status() expects exactly 0 arguments, 1 given
TypeError: askr_broadcast(): Argument #5 ($retry) must be of type ?int, array given
ValueError: askr_broadcast(): Argument #1 ($channel) cannot be empty
ValueError: askr_broadcast(): Argument #2 ($payload) must be valid UTF-8
ValueError: askr_broadcast(): Argument #4 ($id) cannot be empty
ValueError: askr_broadcast(): Argument #5 ($retry) must be between 0 and 4294967295 (milliseconds)

--TEST--
askr_broadcast() refuses event names that are empty, too long, reserved or not one line of text
--INI--
askr.ring=/askr-phpt-event-error
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
foreach (['', str_repeat('e', 201), "a\r", "a\nb", "\0", "\xff", 'askr:gap', 'pusher:error', 'pusher_internal:x', []] as $event) {
    told(fn () => askr_broadcast('a', 'x', $event));
}
echo askr_status()['published'], " published\n";
foreach ([str_repeat('e', 200), 'App\Events\OrderShipped', "tab\there", 'client-x'] as $event) {
    told(fn () => askr_broadcast('a', 'x', $event));
}
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-event-error');
?>
--EXPECT--
ValueError: askr_broadcast(): Argument #3 ($event) cannot be empty
ValueError: askr_broadcast(): Argument #3 ($event) must be at most 200 bytes long
ValueError: askr_broadcast(): Argument #3 ($event) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #3 ($event) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #3 ($event) must not contain CR, LF or NUL bytes
ValueError: askr_broadcast(): Argument #3 ($event) must be valid UTF-8
ValueError: askr_broadcast(): Argument #3 ($event) must not start with "askr:"
ValueError: askr_broadcast(): Argument #3 ($event) must not start with "pusher:"
ValueError: askr_broadcast(): Argument #3 ($event) must not start with "pusher_internal:"
TypeError: askr_broadcast(): Argument #3 ($event) must be of type ?string, array given
0 published
true
true
true
true

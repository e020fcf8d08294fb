--TEST--
askr_broadcast() refuses channels that are empty, too long, reserved, not text, none or too many
--INI--
askr.ring=/askr-phpt-channel-error
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();

$channels = [
    '', str_repeat('a', 201), "a\nb", "a\0", "\x7f", "\u{85}", "\xff", "cut \xe2\x82",
    'askr:gap', 'pusher:ping', 'pusher_internal:member_added',
    [], range(1, 101), ['a', ''], ['a', 'pusher:x'], ['a', "\xff"], [false],
];
foreach ($channels as $channel) {
    told(fn () => askr_broadcast($channel, 'x'));
}
$resource = fopen('php://memory', 'r');
foreach ([[null], ['a', []], [new stdClass], [$resource], new stdClass, $resource, fn () => 1] as $channel) {
    told(fn () => askr_broadcast($channel, 'x'));
}
told(fn () => askr_broadcast(null, 'x'));
echo askr_status()['published'], " published\n";
var_dump(askr_broadcast(str_repeat('a', 200), 'x'), askr_broadcast('pushers', 'x'), askr_broadcast(range(1, 100), 'x'));
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-channel-error');
?>
--EXPECTF--
ValueError: askr_broadcast(): Argument #1 ($channel) cannot be empty
ValueError: askr_broadcast(): Argument #1 ($channel) must be at most 200 bytes long
ValueError: askr_broadcast(): Argument #1 ($channel) must not contain control characters
ValueError: askr_broadcast(): Argument #1 ($channel) must not contain control characters
ValueError: askr_broadcast(): Argument #1 ($channel) must not contain control characters
ValueError: askr_broadcast(): Argument #1 ($channel) must not contain control characters
ValueError: askr_broadcast(): Argument #1 ($channel) must be valid UTF-8
ValueError: askr_broadcast(): Argument #1 ($channel) must be valid UTF-8
ValueError: askr_broadcast(): Argument #1 ($channel) must not start with "askr:"
ValueError: askr_broadcast(): Argument #1 ($channel) must not start with "pusher:"
ValueError: askr_broadcast(): Argument #1 ($channel) must not start with "pusher_internal:"
ValueError: askr_broadcast(): Argument #1 ($channel) cannot be empty
ValueError: askr_broadcast(): Argument #1 ($channel) must have at most 100 elements, 101 given
ValueError: askr_broadcast(): Argument #1 ($channel) cannot be empty
ValueError: askr_broadcast(): Argument #1 ($channel) must not start with "pusher:"
ValueError: askr_broadcast(): Argument #1 ($channel) must be valid UTF-8
ValueError: askr_broadcast(): Argument #1 ($channel) cannot be empty
TypeError: askr_broadcast(): Argument #1 ($channel) must be an array of strings, null given
TypeError: askr_broadcast(): Argument #1 ($channel) must be an array of strings, array given
TypeError: askr_broadcast(): Argument #1 ($channel) must be an array of strings, stdClass given
TypeError: askr_broadcast(): Argument #1 ($channel) must be an array of strings, resource given
TypeError: askr_broadcast(): Argument #1 ($channel) must be of type array|string, stdClass given
TypeError: askr_broadcast(): Argument #1 ($channel) must be of type array|string, resource given
TypeError: askr_broadcast(): Argument #1 ($channel) must be of type array|string, Closure given

Deprecated: askr_broadcast(): Passing null to parameter #1 ($channel) of type array|string is deprecated in %s on line %d
ValueError: askr_broadcast(): Argument #1 ($channel) cannot be empty
0 published
bool(true)
bool(true)
bool(true)

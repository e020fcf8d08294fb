--TEST--
askr_broadcast_all() refuses all events for one bad one, and names its place and key
--INI--
askr.ring=/askr-phpt-all-error
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd(['RING_SLOTS' => 1024, 'RING_ARENA' => 1 << 20]);
$good = ['channel' => 'a', 'payload' => 'x'];
told(fn () => askr_broadcast_all());
told(fn () => askr_broadcast_all('a'));
told(fn () => askr_broadcast_all($good));
told(fn () => askr_broadcast_all([$good, null]));
told(fn () => askr_broadcast_all([$good, new stdClass]));
told(fn () => askr_broadcast_all(array_fill(0, 1001, $good)));
foreach ([
    [], ['channel' => 'a'], ['payload' => 'x'], ['payload' => null] + $good, ['channel' => null] + $good,
    $good + ['evnet' => 'e'], $good + [5 => 'x'], $good + ["a\nb" => 1],
    ['channel' => ''] + $good, ['channel' => []] + $good, ['channel' => ['a', null]] + $good, ['channel' => ['a', 'pusher:x']] + $good,
    ['channel' => array_fill(0, 101, 'a')] + $good, ['channel' => new stdClass] + $good,
    ['payload' => "\xff"] + $good, ['payload' => []] + $good, ['payload' => str_repeat('x', 65537)] + $good,
    $good + ['event' => ''], $good + ['event' => []], $good + ['id' => '0123456789ab-42'], $good + ['retry' => -1],
    $good + ['retry' => 'soon'], $good + ['except' => "\n"], $good + ['key' => str_repeat('k', 201)],
    ['payload' => new class { public function __toString(): string { throw new LogicException('from __toString()'); } }] + $good,
] as $bad) {
    told(fn () => askr_broadcast_all([$good, $good, $bad]));
}
echo askr_status()['published'], " published\n";
echo php('declare(strict_types=1);
    foreach (["payload" => 5, "event" => 5, "retry" => "5", "key" => true] as $key => $value) {
        try { askr_broadcast_all([[$key => $value] + ["channel" => [5], "payload" => "x"]]); } catch (TypeError $e) { echo $e->getMessage(), "\n"; }
    }
    var_dump(askr_broadcast_all([["channel" => [5], "payload" => "x"]]));');

echo "--- without a ring\n";
$code = '$good = ["channel" => "a", "payload" => "x"];
    try { var_dump(askr_broadcast_all([$good, $good])); } catch (Askr\Exception $e) { echo $e->getMessage(), "\n"; }
    try { askr_broadcast_all([$good, []]); } catch (ValueError $e) { echo $e->getMessage(), "\n"; }';
foreach (['silent', 'log', 'warning', 'exception'] as $policy) {
    echo php($code, ['askr.ring' => '/askr-phpt-all-error.none', 'askr.on_failure' => $policy]);
}
echo php($code, ['askr.enabled' => '0']);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-all-error');
?>
--EXPECTF--
ArgumentCountError: askr_broadcast_all() expects exactly 1 argument, 0 given
TypeError: askr_broadcast_all(): Argument #1 ($events) must be of type array, string given
TypeError: askr_broadcast_all(): Argument #1 ($events) element 0: must be of type array, string given
TypeError: askr_broadcast_all(): Argument #1 ($events) element 1: must be of type array, null given
TypeError: askr_broadcast_all(): Argument #1 ($events) element 1: must be of type array, stdClass given
ValueError: askr_broadcast_all(): Argument #1 ($events) must have at most 1000 elements, 1001 given
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "channel" is missing
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "payload" is missing
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "channel" is missing
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "payload" is missing
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "channel" is missing
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: unknown key "evnet", allowed are channel, payload, event, id, retry, except and key
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: unknown key "5", allowed are channel, payload, event, id, retry, except and key
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: unknown key "a?b", allowed are channel, payload, event, id, retry, except and key
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "channel" cannot be empty
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "channel" cannot be empty
TypeError: askr_broadcast_all(): Argument #1 ($events) element 2: "channel" must be an array of strings, null given
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "channel" must not start with "pusher:"
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "channel" must have at most 100 elements, 101 given
TypeError: askr_broadcast_all(): Argument #1 ($events) element 2: "channel" must be of type array|string, stdClass given
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "payload" must be valid UTF-8
TypeError: askr_broadcast_all(): Argument #1 ($events) element 2: "payload" must be of type string, array given
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "payload" must be at most 65536 bytes long for this ring, 65537 given
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "event" cannot be empty
TypeError: askr_broadcast_all(): Argument #1 ($events) element 2: "event" must be of type ?string, array given
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "id" must not have the form of a cursor (12 hexadecimal digits, a dash, digits; or a tilde and 8 or more of A-Z, a-z, 0-9, - and _)
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "retry" must be between 0 and 4294967295 (milliseconds)
TypeError: askr_broadcast_all(): Argument #1 ($events) element 2: "retry" must be of type ?int, string given
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "except" must not contain CR, LF or NUL bytes
ValueError: askr_broadcast_all(): Argument #1 ($events) element 2: "key" must be at most 200 bytes long
LogicException: from __toString()
0 published
askr_broadcast_all(): Argument #1 ($events) element 0: "payload" must be of type string, int given
askr_broadcast_all(): Argument #1 ($events) element 0: "event" must be of type ?string, int given
askr_broadcast_all(): Argument #1 ($events) element 0: "retry" must be of type ?int, string given
askr_broadcast_all(): Argument #1 ($events) element 0: "key" must be of type ?string, bool given
int(1)
--- without a ring
int(0)
askr_broadcast_all(): Argument #1 ($events) element 1: "channel" is missing
askr_broadcast_all(): 0 of 2 events published: the ring /askr-phpt-all-error.none (/dev/shm/askr-phpt-all-error.none) does not exist; is askrd running?
int(0)
askr_broadcast_all(): Argument #1 ($events) element 1: "channel" is missing

Warning: askr_broadcast_all(): 0 of 2 events published: the ring /askr-phpt-all-error.none (/dev/shm/askr-phpt-all-error.none) does not exist; is askrd running? in %s on line %d
int(0)
askr_broadcast_all(): Argument #1 ($events) element 1: "channel" is missing
0 of 2 events published: the ring /askr-phpt-all-error.none (/dev/shm/askr-phpt-all-error.none) does not exist; is askrd running?
askr_broadcast_all(): Argument #1 ($events) element 1: "channel" is missing
int(0)
askr_broadcast_all(): Argument #1 ($events) element 1: "channel" is missing

--TEST--
askr_broadcast() refuses payloads that are not UTF-8, and names the limit for those too large
--INI--
askr.ring=/askr-phpt-payload-error
--FILE--
<?php
require __DIR__ . '/ring.inc';

// Without a ring nobody knows the limit; all else is checked.
told(fn () => askr_broadcast('a', "\xff"));
$askrd = new Askrd(['RING_ARENA' => 1 << 20, 'RING_MAX_PAYLOAD' => 5000]);
$limit = askr_status()['max_payload'];
var_dump($limit);
told(fn () => askr_broadcast('a', str_repeat('x', $limit)));
told(fn () => askr_broadcast('a', str_repeat('x', $limit + 1)));
told(fn () => askr_broadcast(range(1, 100), str_repeat('é', $limit)));

foreach (["\xff", str_repeat('x', 4999) . "\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80"] as $invalid) {
    told(fn () => askr_broadcast('a', $invalid));
}
told(fn () => askr_broadcast('a', []));
told(fn () => askr_broadcast('a', new stdClass));
$status = askr_status();
echo $status['published'], ' published, ', $status['failures']['too_large'], " too large\n";
var_dump(askr_broadcast('a', "NUL \0, control \x1b, BOM \u{FEFF}, U+2028 \u{2028}, last \u{10FFFF}"));
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-payload-error');
?>
--EXPECT--
ValueError: askr_broadcast(): Argument #2 ($payload) must be valid UTF-8
int(5000)
true
ValueError: askr_broadcast(): Argument #2 ($payload) must be at most 5000 bytes long for this ring, 5001 given
ValueError: askr_broadcast(): Argument #2 ($payload) must be at most 5000 bytes long for this ring, 10000 given
ValueError: askr_broadcast(): Argument #2 ($payload) must be valid UTF-8
ValueError: askr_broadcast(): Argument #2 ($payload) must be valid UTF-8
ValueError: askr_broadcast(): Argument #2 ($payload) must be valid UTF-8
ValueError: askr_broadcast(): Argument #2 ($payload) must be valid UTF-8
ValueError: askr_broadcast(): Argument #2 ($payload) must be valid UTF-8
TypeError: askr_broadcast(): Argument #2 ($payload) must be of type string, array given
TypeError: askr_broadcast(): Argument #2 ($payload) must be of type string, stdClass given
1 published, 2 too large
bool(true)

--TEST--
askr_broadcast() refuses other types under strict_types, elements of an array excepted
--INI--
askr.ring=/askr-phpt-strict
--FILE--
<?php
declare(strict_types=1);
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
$stringable = new class { public function __toString(): string { return 'stringable'; } };

told(fn () => askr_broadcast(7, 'x'));
told(fn () => askr_broadcast($stringable, 'x'));
told(fn () => askr_broadcast(null, 'x'));
told(fn () => askr_broadcast('a', 42));
told(fn () => askr_broadcast('a', null));
told(fn () => askr_broadcast('a', 'x', 1.5));
told(fn () => askr_broadcast('a', 'x', null, $stringable));
told(fn () => askr_broadcast('a', 'x', null, null, '10'));
told(fn () => askr_broadcast('a', 'x', null, null, 10.0));
told(fn () => askr_broadcast('a', 'x', null, null, null, true));
echo askr_status()['published'], " published\n";

told(fn () => askr_broadcast(['a', 7, 1.5, true, $stringable], 'like implode()'));
told(fn () => askr_broadcast('a', 'x', 'event', 'id', 10, '1.2'));
show(2);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-strict');
?>
--EXPECTF--
TypeError: askr_broadcast(): Argument #1 ($channel) must be of type array|string, int given
TypeError: askr_broadcast(): Argument #1 ($channel) must be of type array|string, class@anonymous given
TypeError: askr_broadcast(): Argument #1 ($channel) must be of type array|string, null given
TypeError: askr_broadcast(): Argument #2 ($payload) must be of type string, int given
TypeError: askr_broadcast(): Argument #2 ($payload) must be of type string, null given
TypeError: askr_broadcast(): Argument #3 ($event) must be of type ?string, float given
TypeError: askr_broadcast(): Argument #4 ($id) must be of type ?string, class@anonymous given
TypeError: askr_broadcast(): Argument #5 ($retry) must be of type ?int, string given
TypeError: askr_broadcast(): Argument #5 ($retry) must be of type ?int, float given
TypeError: askr_broadcast(): Argument #6 ($except) must be of type ?string, %r(?:bool|true)%r given
0 published
true
true
a, 7, 1.5, 1, stringable {} like implode()
a {"event":"event","id":"id","retry":10,"except":"1.2"} x

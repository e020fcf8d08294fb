--TEST--
askr_broadcast() refuses retry times that are negative, over 32 bits or no integer
--INI--
askr.ring=/askr-phpt-retry-error
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
foreach ([-1, PHP_INT_MIN, 4294967296, PHP_INT_MAX, 'soon', '10 s', 1e30, NAN, []] as $retry) {
    told(fn () => askr_broadcast('a', 'x', retry: $retry));
}
echo askr_status()['published'], " published\n";
told(fn () => askr_broadcast('a', 'least', retry: 0));
told(fn () => askr_broadcast('a', 'most', retry: 4294967295));
show(2);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-retry-error');
?>
--EXPECT--
ValueError: askr_broadcast(): Argument #5 ($retry) must be between 0 and 4294967295 (milliseconds)
ValueError: askr_broadcast(): Argument #5 ($retry) must be between 0 and 4294967295 (milliseconds)
ValueError: askr_broadcast(): Argument #5 ($retry) must be between 0 and 4294967295 (milliseconds)
ValueError: askr_broadcast(): Argument #5 ($retry) must be between 0 and 4294967295 (milliseconds)
TypeError: askr_broadcast(): Argument #5 ($retry) must be of type ?int, string given
TypeError: askr_broadcast(): Argument #5 ($retry) must be of type ?int, string given
TypeError: askr_broadcast(): Argument #5 ($retry) must be of type ?int, float given
TypeError: askr_broadcast(): Argument #5 ($retry) must be of type ?int, float given
TypeError: askr_broadcast(): Argument #5 ($retry) must be of type ?int, array given
0 published
true
true
a {"retry":0} least
a {"retry":4294967295} most

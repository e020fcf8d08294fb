--TEST--
askr_broadcast() survives what __toString() does: throw, publish, change the array, end the script
--INI--
askr.ring=/askr-phpt-stringable
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();

final class Runs
{
    public function __construct(private Closure $what) {}
    public function __toString(): string { return ($this->what)(); }
}

$throw = new Runs(fn () => throw new LogicException('from __toString()'));
told(fn () => askr_broadcast($throw, 'x'));
told(fn () => askr_broadcast('a', $throw));
told(fn () => askr_broadcast('a', 'x', event: $throw));
told(fn () => askr_broadcast('a', 'x', except: $throw));
told(fn () => askr_broadcast(['a', $throw, 5], 'x'));
echo askr_status()['published'], " published\n";

told(fn () => askr_broadcast(new Runs(fn () => var_export(askr_broadcast('inner', 'first'), true)), 'second'));

// The reference loses its string while the list is being read.
$victim = str_repeat('v', 100);
$list = [&$victim, new Runs(function () use (&$victim) { $victim = null; return 'after'; }), &$victim];
told(fn () => askr_broadcast($list, 'third'));

// The array itself is overwritten meanwhile.
$names = ['kept', new Runs(function () use (&$names) { $names = []; return 'also kept'; })];
told(function () use (&$names) { return askr_broadcast($names, 'fourth'); });
show(3);

register_shutdown_function(function () {
    echo "shutdown: ";
    told(fn () => askr_broadcast('a', 'after the end'));
});
askr_broadcast(['a', new Runs(fn () => exit("ended in __toString()\n"))], 'never');
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-stringable');
?>
--EXPECT--
LogicException: from __toString()
LogicException: from __toString()
LogicException: from __toString()
LogicException: from __toString()
LogicException: from __toString()
0 published
true
ValueError: askr_broadcast(): Argument #1 ($channel) cannot be empty
true
inner {} first
true {} second
kept, also kept {} fourth
ended in __toString()
shutdown: true

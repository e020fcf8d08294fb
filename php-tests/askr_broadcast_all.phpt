--TEST--
askr_broadcast_all() publishes in order what askr_broadcast() would, and tells how many
--INI--
askr.ring=/askr-phpt-all
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd(['RING_SLOTS' => 1024]);
told(fn () => askr_broadcast_all([]));
$stringable = new class { public function __toString(): string { return 'from an object'; } };
$shared = 'by reference';
told(fn () => askr_broadcast_all([
    ['channel' => 'a', 'payload' => '1'],
    'named' => ['payload' => '2', 'channel' => ['a', 'b', 'a', 5], 'event' => 'e', 'id' => 'i', 'retry' => 10, 'except' => '1.2', 'key' => 'k'],
    ['channel' => 'a', 'payload' => '3', 'event' => null, 'id' => null, 'retry' => null, 'except' => null, 'key' => null],
    ['channel' => $stringable, 'payload' => $stringable, 'event' => 7, 'retry' => '20'],
    ['channel' => [&$shared], 'payload' => &$shared],
    ['channel' => 'a', 'payload' => 'repeated', 'key' => 'k'],
    ['channel' => 'a', 'payload' => 4.5],
]));
wait_until(fn () => askr_status()['daemon_read'] === askr_status()['tail']);
show(6);

// What runs meanwhile does not change what was taken.
$list = [
    ['channel' => [&$shared], 'payload' => &$shared],
    ['channel' => 'a', 'payload' => new class { public function __toString(): string {
        $GLOBALS['shared'] = null;
        $GLOBALS['list'] = [];
        return (string) askr_broadcast_all([['channel' => 'inner', 'payload' => 'first']]);
    } }],
    ['channel' => 'a', 'payload' => 'last'],
];
told(function () { return askr_broadcast_all($GLOBALS['list']); });
wait_until(fn () => askr_status()['daemon_read'] === askr_status()['tail']);
foreach (array_slice(events(10), -4) as $event) {
    echo $event['channels'][0], ' ', $event['data'], "\n";
}

// A whole lap of the ring, of events of every size.
$before = askr_status()['published'];
told(fn () => askr_broadcast_all(array_map(fn (int $n) => ['channel' => 'a', 'payload' => str_repeat('x', $n * 60)], range(1, 1000))));
var_dump(askr_status()['published'] - $before);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-all');
?>
--EXPECT--
0
7
a {} 1
a, b, 5 {"event":"e","id":"i","retry":10,"except":"1.2"} 2
a {} 3
from an object {"event":"7","retry":20} from an object
by reference {} by reference
a {} 4.5
3
inner first
by reference by reference
a 1
a last
1000
int(1000)

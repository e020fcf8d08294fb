--TEST--
Hundreds of thousands of calls, throws and failures do not grow the process
--INI--
askr.ring=/askr-phpt-memory
askr.on_failure=silent
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd(['RING_SLOTS' => 1024, 'RING_ARENA' => 1 << 20]);

// What calls leave behind grows in every round. What an emulator makes of code that it meets does not, and is resident, too.
$settles = <<<'CODE'
    function resident(): int
    {
        return 1024 * (int) preg_replace('/.*^VmRSS:\s*(\d+) kB$.*/ms', '$1', file_get_contents('/proc/self/status'));
    }
    function settles(callable $round): bool
    {
        for ($n = 0; $n < 8; $n++) {
            $before = resident();
            $round();
            if (resident() - $before <= 256 * 1024) {
                return true;
            }
        }
        return false;
    }
CODE;
eval($settles);

$payload = str_repeat('x', 200);
$large = str_repeat('x', 5000);
$channel = new class { public function __toString(): string { return 'private-' . mt_rand(1000, 9999); } };
$rounds = function (int $n) use ($payload, $large, $channel) {
    for ($i = 0; $i < $n; $i++) {
        askr_broadcast('orders', $payload, 'order.shipped', "id $i", 10, '1.2');
        askr_broadcast(['a', 'b', 'a', 5], $large);
        askr_broadcast($channel, $channel);
        askr_broadcast([$channel, $channel], $payload);
        askr_broadcast('a', $payload, key: "key $i");
        askr_broadcast_all([['channel' => ['a', $channel], 'payload' => $channel, 'event' => 7], ['channel' => 'a', 'payload' => $large]]);
        askr_cursor();
        askr_register_event('a', 'b');
        try { askr_broadcast_all([['channel' => 'a', 'payload' => $channel], ['channel' => [$channel], 'payload' => []]]); } catch (TypeError) {}
        try { askr_broadcast('', $payload); } catch (ValueError) {}
        try { askr_broadcast([null], $payload); } catch (TypeError) {}
        try { askr_broadcast('a', $payload, retry: 'soon'); } catch (TypeError) {}
    }
    for ($i = 0; $i < $n / 10; $i++) {
        askr_status();
        askr_broadcast('a', str_repeat('x', 65536));
        try { askr_broadcast('a', str_repeat('x', 70000)); } catch (ValueError) {}
    }
};
$rounds(10_000);
$used = memory_get_usage();
var_dump(settles(fn () => $rounds(50_000)), memory_get_usage() - $used <= 1024);

// Without a ring each call looks for it, makes a sentence about it and, here, throws it.
$askrd->stop();
$code = $settles . 'function rounds($n) { while ($n-- > 0) try { askr_broadcast("a", "x"); } catch (Askr\Exception) {} }
    rounds(5000); var_dump(settles(fn () => rounds(30000)));';
echo php($code, ['askr.ring' => '/askr-phpt-memory.none', 'askr.on_failure' => 'exception']);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-memory');
?>
--EXPECT--
bool(true)
bool(true)
bool(true)

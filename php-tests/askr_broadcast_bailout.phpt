--TEST--
askr_broadcast() works after a fatal error inside of it: nothing stays locked
--INI--
askr.ring=/askr-phpt-bailout
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();

$after = <<<'CODE'
    register_shutdown_function(function () {
        echo "\nshutdown: ", var_export(askr_broadcast('a', 'after the end'), true), ', ',
            askr_status()['published'], " published\n";
    });
    final class Fatal { function __toString(): string { return str_repeat('x', 1 << 30); } }
CODE;
echo php($after . 'askr_broadcast(["a", 5, new Fatal, 6], "x");', ['memory_limit' => '16M']);
echo php($after . 'askr_broadcast("a", new Fatal);', ['memory_limit' => '16M']);
echo php($after . 'askr_broadcast_all([["channel" => "a", "payload" => "x"], ["channel" => ["a", 5], "payload" => new Fatal]]);', ['memory_limit' => '16M']);
echo php($after . 'askr_register_event("a", new Fatal);', ['memory_limit' => '16M']);
// Names of events without end: what is made of them is PHP's, which frees it.
// The script's own are still there at its end, and may take all that there is.
echo php('register_shutdown_function(function () { $GLOBALS["all"] = []; print("\n" . count(askr_events()) . " events\n"); });
    askr_register_event(...array_map(fn (int $n) => "an event with a name, $n", range(1, 1000)));
    for (;;) $all[] = askr_events();', ['memory_limit' => '16M']);
// The warning about a ring that is not there meets a handler that dies.
echo php('
    register_shutdown_function(function () {
        restore_error_handler();
        echo "\nshutdown: ", var_export(askr_broadcast("a", "after the end"), true);
    });
    set_error_handler(fn () => str_repeat("x", 1 << 30));
    askr_broadcast("a", "no ring");',
    ['memory_limit' => '16M', 'askr.ring' => '/askr-phpt-bailout.none', 'askr.on_failure' => 'warning']);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-bailout');
?>
--EXPECTF--

Fatal error: Allowed memory size of 16777216 bytes exhausted (tried to allocate %d bytes) in Command line code on line %d

shutdown: true, 1 published
exit code 255

Fatal error: Allowed memory size of 16777216 bytes exhausted (tried to allocate %d bytes) in Command line code on line %d

shutdown: true, 1 published
exit code 255

Fatal error: Allowed memory size of 16777216 bytes exhausted (tried to allocate %d bytes) in Command line code on line %d

shutdown: true, 1 published
exit code 255

Fatal error: Allowed memory size of 16777216 bytes exhausted (tried to allocate %d bytes) in Command line code on line %d

shutdown: true, 1 published
exit code 255

Fatal error: Allowed memory size of 16777216 bytes exhausted (tried to allocate %d bytes) in Command line code on line %d

1000 events
exit code 255

Fatal error: Allowed memory size of 16777216 bytes exhausted (tried to allocate %d bytes) in Command line code on line %d

shutdown: 
Warning: askr_broadcast(): Event not published: the ring /askr-phpt-bailout.none (/dev/shm/askr-phpt-bailout.none) does not exist; is askrd running? in Command line code on line %d
falseexit code 255

--TEST--
PHP runs out of memory over a large answer: the answer is freed, the module works on
--FILE--
<?php
require __DIR__ . '/ring.inc';
require __DIR__ . '/control.inc';
$names = [];
for ($n = 0; $n < 300_000; $n++) {
    $names["a channel with a name of some length, $n"] = 1;
}
$body = json_encode(['channels' => $names]);
unset($names);
$code = 'function resident() { return (int) explode(" ", file_get_contents("/proc/self/statm"))[1] * 4096; }
    $before = resident();
    register_shutdown_function(function () use ($before) {
        // PHP may have its 8 MB; the answer, larger than that, is gone.
        echo "\n", resident() - $before < 10e6 ? "freed" : "LEAKED", " ", askr_status()["enabled"] ? "works" : "", "\n";
        try { askr_channels(); } catch (Askr\Exception) { echo "and asks\n"; }
    });
    askr_channels();';
var_dump(strlen($body) > 12e6 && strlen($body) < 16e6);
[, $told] = conversation($code, http($body), ['memory_limit' => '8M']);
echo $told;
?>
--EXPECTF--
bool(true)

Fatal error: Allowed memory size of 8388608 bytes exhausted (tried to allocate %d bytes) in Command line code on line %d

freed works
and asks
exit code 255

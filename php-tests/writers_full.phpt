--TEST--
A full table of writers: false, the reason, and recovery when one leaves
--INI--
askr.ring=/askr-phpt-writers
askr.on_failure=silent
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd(['RING_WRITERS' => 16]);
$writers = askr_status()['writers'];
var_dump($writers);

// Entry 0 is nobody's, and this process has one; others take the rest and wait.
$others = [];
while (count($others) < $writers) {
    $process = php_start('echo askr_broadcast("a", "x") ? "in\n" : askr_status()["reason"] . "\n"; fgets(STDIN);',
        ['askr.on_failure' => 'silent'], [], ['pipe', 'w'], ['pipe', 'r'], $pipes);
    $others[] = [$process, $pipes];
    $told = fgets($pipes[1]);
    if ($told !== "in\n") {
        break;
    }
}
echo count($others) - 1, " others are in\n", $told;

$end = function (array $other) {
    fwrite($other[1][0], "\n");
    array_map('fclose', $other[1]);
    proc_close($other[0]);
};
$end(array_pop($others));
$end(array_pop($others));
echo php('var_dump(askr_broadcast("a", "x"));');
array_map($end, $others);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-writers');
?>
--EXPECT--
int(16)
14 others are in
the ring /askr-phpt-writers (/dev/shm/askr-phpt-writers) has no free entry in its writer table; raise ring.writers
bool(true)

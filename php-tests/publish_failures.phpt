--TEST--
What cannot be published is reported by its reason, and counted in askrd's metrics: all of it, at the latest when PHP ends
--EXTENSIONS--
pcntl
--INI--
askr.ring=/askr-phpt-publish-failures
--FILE--
<?php
require __DIR__ . '/ring.inc';
$control = ring_path() . '.control';
$settings = ['RING_MAX_PAYLOAD' => '1KiB', 'SERVER_CONTROL' => $control];
$askrd = new Askrd($settings);
$ini = ['askr.control' => $control, 'askr.on_failure' => 'silent'];

/** What askrd has counted, each reason that has any: "application reason count". */
function counted(): array
{
    $socket = stream_socket_client('unix://' . $GLOBALS['control']);
    fwrite($socket, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    preg_match_all('/^askr_publish_failures_total\{application="(.*?)",reason="(.*?)"\} ([1-9]\d*)$/m', stream_get_contents($socket), $rows, PREG_SET_ORDER);
    return array_map(fn (array $row): string => "'$row[1]' $row[2] $row[3]", $rows);
}

/** A datagram is counted when askrd has read it. */
function shows(string ...$expected): void
{
    wait_until(fn () => ($GLOBALS['last'] = counted()) === $expected);
    echo implode("\n", $GLOBALS['last']), "\n";
}

$fail = fn (int $times) => 'for ($n = 0; $n < ' . $times . '; $n++) { try { askr_broadcast("a", str_repeat("x", 2000)); } catch (ValueError) { echo "x"; } }';
echo "--- one: ", php($fail(1), $ini), "\n";
shows("'askr' too_large 1");
echo "--- several at once, of a process that ends then: ", php($fail(3), $ini), "\n";
shows("'askr' too_large 4");
echo "--- a child's own, and not its parent's again:\n";
echo php($fail(2) . 'if (pcntl_fork() === 0) { ' . $fail(1) . ' exit; } pcntl_wait($status);', $ini), "\n";
shows("'askr' too_large 7");
echo "--- a ring that is not served here: ", php('var_dump(askr_broadcast("a", "x"));', ['askr.ring' => '/askr-phpt-no-such-ring'] + $ini);
shows("'askr' too_large 7", "'' missing 1");
echo "--- a user who may not publish: ", php('var_dump(askr_broadcast("a", "x"));', $ini, nobody());
shows("'askr' permission 1", "'askr' too_large 7", "'' missing 1");
echo "--- nobody is told: ", php($fail(1), ['askr.control' => ''] + $ini), php($fail(1), ['askr.control' => '/nonexistent/askr'] + $ini), "\n";
echo "--- askrd is away, and comes back: ";
$askrd->stop(SIGKILL);
$left = php_start('foreach ([1, 2] as $_) { ' . $fail(1) . ' fgets(STDIN); }', $ini, [], $out = tmpfile(), ['pipe', 'r'], $pipes);
wait_until(fn () => fstat($out)['size'] > 0);
$askrd = new Askrd($settings);
fwrite($pipes[0], "on\n\n");
proc_close($left);
shows("'askr' too_large 2");
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-publish-failures');
?>
--EXPECT--
--- one: x
'askr' too_large 1
--- several at once, of a process that ends then: xxx
'askr' too_large 4
--- a child's own, and not its parent's again:
xxx
'askr' too_large 7
--- a ring that is not served here: bool(false)
'askr' too_large 7
'' missing 1
--- a user who may not publish: bool(false)
'askr' permission 1
'askr' too_large 7
'' missing 1
--- nobody is told: xx
--- askrd is away, and comes back: 'askr' too_large 2

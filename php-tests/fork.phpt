--TEST--
Forked children publish as themselves, and their end takes nothing from the parent
--EXTENSIONS--
pcntl
--INI--
askr.ring=/askr-phpt-fork
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd(['RING_SLOTS' => 8192]);
const CHILDREN = 8, EACH = 500;

// The parent has attached before it forks, as a queue worker has.
askr_broadcast('parent', 'first') || exit('not published');
$children = [];
for ($child = 0; $child < CHILDREN; $child++) {
    if (($pid = pcntl_fork()) === 0) {
        $status = askr_status();
        for ($n = 0; $n < EACH; $n++) {
            askr_broadcast("child $child", "$n") || exit(1);
        }
        // Without destructors: askrd belongs to the parent.
        posix_end($status['published'] + EACH === askr_status()['published'] ? 0 : 2);
    }
    $children[] = $pid;
}
for ($n = 0; $n < EACH; $n++) {
    askr_broadcast('parent', "$n") || exit('not published');
}
foreach ($children as $pid) {
    pcntl_waitpid($pid, $exit);
    pcntl_wifsignaled($exit) && pcntl_wtermsig($exit) === SIGKILL || exit("a child ended with $exit\n");
}
askr_broadcast('parent', 'last') || exit('not published');

$seen = [];
foreach (events(CHILDREN * EACH + EACH + 2) as $event) {
    $seen[$event['channels'][0]][] = $event['data'];
}
ksort($seen);
$order = array_map('strval', range(0, EACH - 1));
foreach ($seen as $channel => $data) {
    $expected = $channel === 'parent' ? ['first', ...$order, 'last'] : $order;
    echo $channel, $data === $expected ? ' in order, each once' : ' is wrong', "\n";
}
$status = askr_status();
var_dump($status['published'], $status['reason'], array_sum($status['failures']));

function posix_end(int $code): never
{
    $code === 0 || exit($code);
    shell_exec('kill -KILL ' . getmypid());
    exit(3);
}
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-fork');
?>
--EXPECT--
child 0 in order, each once
child 1 in order, each once
child 2 in order, each once
child 3 in order, each once
child 4 in order, each once
child 5 in order, each once
child 6 in order, each once
child 7 in order, each once
parent in order, each once
int(502)
NULL
int(0)

--TEST--
A forked child that ends normally gives back its own place among the writers and not its parent's
--EXTENSIONS--
pcntl
--INI--
askr.ring=/askr-phpt-fork-exit
--FILE--
<?php
require __DIR__ . '/ring.inc';
// Sixteen writers: a place that is not given back would soon be missing.
$code = <<<'CODE'
    askr_broadcast("a", "parent") || exit("not published\n");
    for ($n = 0; $n < 100; $n++) {
        if (($pid = pcntl_fork()) === 0) {
            exit(askr_broadcast("a", "child") && askr_broadcast("a", "child") ? 0 : 1);
        }
        pcntl_waitpid($pid, $status);
        if ($status !== 0) {
            exit("child $n: " . askr_status()["reason"] . "\n");
        }
        askr_broadcast("a", "parent") || exit("parent: " . askr_status()["reason"] . "\n");
    }
    // Children that never publish leave the parent's place alone, too.
    pcntl_fork() === 0 && exit(0);
    pcntl_wait($status);
    echo askr_broadcast("a", "parent") ? "published " : "lost ", askr_status()["published"], "\n";
CODE;
$askrd = new Askrd(['RING_WRITERS' => 16]);
echo php($code);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-fork-exit');
?>
--EXPECT--
published 102

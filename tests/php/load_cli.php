<?php

// load_cli.php NAME COUNT ACKNOWLEDGED CHILDREN: publishes COUNT events as NAME, or with CHILDREN > 0
// forks that many, each publishing COUNT as NAME1, NAME2, … The parent publishes first, so that the
// children inherit an attached ring and must not use it.

require __DIR__ . '/load.php';

[, $name, $count, $acknowledged, $children] = $argv;
$acknowledged = $acknowledged === '' ? null : $acknowledged;

if ($children == 0) {
    publish_load($name, 0, (int) $count, $acknowledged);
    exit(0);
}

publish_load("{$name}0", 0, 1, $acknowledged);
$pids = [];
for ($child = 1; $child <= $children; $child++) {
    $pid = pcntl_fork();
    if ($pid === 0) {
        publish_load("$name$child", 0, (int) $count, $acknowledged);
        exit(0);
    }
    $pids[] = $pid;
}
$failed = 0;
foreach ($pids as $pid) {
    pcntl_waitpid($pid, $status);
    $failed += (int) (!pcntl_wifexited($status) || pcntl_wexitstatus($status) !== 0);
}
exit($failed);

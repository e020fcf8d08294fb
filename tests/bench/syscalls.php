<?php

// syscalls.php COUNT PAUSE_US: publishes between two marks that strace shows, pausing before each.

[, $count, $pause] = $argv;
for ($i = 0; $i < 100; $i++) askr_broadcast('bench', 'warm');
@stat('/askr-bench-begins');
for ($i = 0; $i < $count; $i++) {
    if ($pause > 0) usleep((int) $pause);
    askr_broadcast('bench', 'payload');
}
@stat('/askr-bench-ends');

--TEST--
A ring that this user may not write: false, and what to do about it
--INI--
askr.ring=/askr-phpt-permission
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
$nobody = nobody();
$code = 'echo trim(shell_exec("id -u")), ": ", var_export(askr_broadcast("a", "x"), true), "\n";
    $status = askr_status();
    var_dump($status["attached"], $status["reason"], $status["failures"]["permission"]);';
echo php($code, ['askr.on_failure' => 'silent'], $nobody);

// Of the ring's group, it may.
chgrp(ring_path(), 65533);
$member = [...array_slice($nobody, 0, -1), '--groups=65533'];
echo php($code, [], $member);
show(1);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-permission');
?>
--EXPECT--
65534: false
bool(false)
string(158) "the ring /askr-phpt-permission (/dev/shm/askr-phpt-permission) may not be opened (Permission denied (os error 13)); does this user belong to the ring's group?"
int(1)
65534: true
bool(true)
NULL
int(0)
a {} x

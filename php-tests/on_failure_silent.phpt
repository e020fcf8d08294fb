--TEST--
askr.on_failure = silent: false, the reason in askr_status(), and not a word
--INI--
askr.ring=/askr-phpt-silent
askr.on_failure=silent
--FILE--
<?php
require __DIR__ . '/ring.inc';
echo php('var_dump(askr_broadcast("a", "x"), askr_status()["reason"], askr_status()["failures"]["missing"]);',
    ['askr.on_failure' => 'silent', 'log_errors' => '1']);
?>
--EXPECTF--
bool(false)
string(%d) "the ring /askr-phpt-silent (/dev/shm/askr-phpt-silent) does not exist; is askrd running?"
int(1)

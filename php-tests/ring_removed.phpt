--TEST--
A ring whose file was removed and made anew is found again
--INI--
askr.ring=/askr-phpt-removed
askr.on_failure=silent
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
var_dump(askr_broadcast('a', 'first'));
$epoch = askr_status()['epoch'];
$askrd->stop(SIGKILL);
unlink(ring_path());
$askrd = new Askrd();
// Until the old heartbeat is stale nothing tells that the name leads elsewhere now.
wait_until(fn () => askr_broadcast('a', 'again') && askr_status()['epoch'] !== $epoch);
var_dump(askr_status()['reason']);
show(1);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-removed');
?>
--EXPECT--
bool(true)
NULL
a {} again

--TEST--
askr_cursor() is null without a ring, whatever askr.on_failure says; askr_status() tells why
--INI--
askr.ring=/askr-phpt-cursor-away
--FILE--
<?php
require __DIR__ . '/ring.inc';
$code = 'var_dump(askr_cursor(), askr_cursor()); $s = askr_status(); echo $s["reason"], " ", array_sum($s["failures"]), "\n";';
foreach (['silent', 'log', 'warning', 'exception'] as $policy) {
    // With error_log empty, what PHP logs would be among what it prints.
    echo php($code, ['askr.on_failure' => $policy, 'log_errors' => '1', 'display_errors' => '0']);
}
echo php($code, ['askr.enabled' => '0']);

// It appears, and goes.
$askrd = new Askrd();
var_dump(is_string(askr_cursor()), askr_status()['reason']);
echo php($code, ['askr.enabled' => '0']);
$askrd->stop();
unlink(ring_path());
wait_until(fn () => askr_cursor() === null);
echo askr_status()['reason'], "\n";
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-cursor-away');
?>
--EXPECT--
NULL
NULL
the ring /askr-phpt-cursor-away (/dev/shm/askr-phpt-cursor-away) does not exist; is askrd running? 0
NULL
NULL
the ring /askr-phpt-cursor-away (/dev/shm/askr-phpt-cursor-away) does not exist; is askrd running? 0
NULL
NULL
the ring /askr-phpt-cursor-away (/dev/shm/askr-phpt-cursor-away) does not exist; is askrd running? 0
NULL
NULL
the ring /askr-phpt-cursor-away (/dev/shm/askr-phpt-cursor-away) does not exist; is askrd running? 0
NULL
NULL
disabled by askr.enabled = 0 0
bool(true)
NULL
NULL
NULL
disabled by askr.enabled = 0 0
the ring /askr-phpt-cursor-away (/dev/shm/askr-phpt-cursor-away) does not exist; is askrd running?

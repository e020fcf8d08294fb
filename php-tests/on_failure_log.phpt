--TEST--
askr.on_failure = log (the default): one line per outage in PHP's error log, no error for the script
--INI--
askr.ring=/askr-phpt-log
--FILE--
<?php
require __DIR__ . '/ring.inc';
ini_set('error_log', $log = ring_path() . '.errors');
set_error_handler(function () { echo "an error handler was called\n"; });
$lines = function () use ($log) {
    echo "  log:\n", preg_replace('/^\[.*?\] /m', '    ', is_file($log) ? file_get_contents($log) : '');
    file_put_contents($log, '');
};

echo "missing, three times\n";
var_dump(askr_broadcast('a', 'x'), askr_broadcast('a', 'x'), askr_broadcast('a', 'x'));
$lines();

echo "another reason\n";
file_put_contents(ring_path(), str_repeat("\0", 8192));
var_dump(askr_broadcast('a', 'x'), askr_broadcast('a', 'x'));
$lines();
unlink(ring_path());

echo "recovered, and published\n";
$askrd = new Askrd();
var_dump(askr_broadcast('a', 'x'));
$lines();

echo "failed anew\n";
$askrd->stop();
unlink(ring_path());
wait_until(fn () => !askr_broadcast('a', 'x'));
var_dump(askr_broadcast('a', 'x'));
$lines();
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-log');
?>
--EXPECT--
missing, three times
bool(false)
bool(false)
bool(false)
  log:
    askr_broadcast(): event not published: the ring /askr-phpt-log (/dev/shm/askr-phpt-log) does not exist; is askrd running?
another reason
bool(false)
bool(false)
  log:
    askr_broadcast(): event not published: the ring /askr-phpt-log (/dev/shm/askr-phpt-log) is not an Askr ring of this version; do askrd and this publisher have the same version?
recovered, and published
bool(true)
  log:
failed anew
bool(false)
  log:
    askr_broadcast(): event not published: the ring /askr-phpt-log (/dev/shm/askr-phpt-log) does not exist; is askrd running?

--TEST--
askr.on_failure = warning: an E_WARNING each time, which a handler may turn into an exception
--INI--
askr.ring=/askr-phpt-warning
askr.on_failure=warning
--FILE--
<?php
require __DIR__ . '/ring.inc';
var_dump(askr_broadcast('a', 'x'));
var_dump(askr_broadcast('a', 'x'));
// As Laravel does.
set_error_handler(function (int $level, string $message) {
    throw new ErrorException($message, 0, $level);
});
told(fn () => askr_broadcast('a', 'x'));
restore_error_handler();
// A handler that publishes itself.
set_error_handler(function (int $level, string $message) {
    ini_set('askr.on_failure', 'silent');
    echo 'handler: ', $message, ' ', var_export(askr_broadcast('log', $message), true), "\n";
});
told(fn () => askr_broadcast('a', 'x'));
echo askr_status()['failures']['missing'], " failures\n";
?>
--EXPECTF--

Warning: askr_broadcast(): Event not published: the ring /askr-phpt-warning (/dev/shm/askr-phpt-warning) does not exist; is askrd running? in %s on line %d
bool(false)

Warning: askr_broadcast(): Event not published: the ring /askr-phpt-warning (/dev/shm/askr-phpt-warning) does not exist; is askrd running? in %s on line %d
bool(false)
ErrorException: askr_broadcast(): Event not published: the ring /askr-phpt-warning (/dev/shm/askr-phpt-warning) does not exist; is askrd running?
handler: askr_broadcast(): Event not published: the ring /askr-phpt-warning (/dev/shm/askr-phpt-warning) does not exist; is askrd running? false
false
5 failures

--TEST--
askr.on_failure = exception: an Askr\Exception that is a real exception
--INI--
askr.ring=/askr-phpt-exception
askr.on_failure=exception
--FILE--
<?php
require __DIR__ . '/ring.inc';
function publish() { return askr_broadcast('a', 'x'); }
try {
    publish();
} catch (Askr\Exception $error) {
    var_dump($error->getMessage(), $error->getCode(), basename($error->getFile()), $error->getLine(), $error->getPrevious());
    echo $error->getTraceAsString(), "\n";
}
told(fn () => askr_broadcast('a', 'x'));

// A policy may change while the script runs.
ini_set('askr.on_failure', 'silent');
told(fn () => askr_broadcast('a', 'x'));

// The class is one like any other.
class Mine extends Askr\Exception {}
$mine = new Mine('by hand', 7, new Askr\Exception('before'));
var_dump($mine instanceof Exception, $mine->getCode(), $mine->getPrevious()->getMessage());
$copy = unserialize(serialize(new Askr\Exception('kept')));
var_dump($copy->getMessage());
?>
--EXPECTF--
string(%d) "Event not published: the ring /askr-phpt-exception (/dev/shm/askr-phpt-exception) does not exist; is askrd running?"
int(0)
string(%d) "on_failure_exception.php"
int(3)
NULL
#0 %son_failure_exception.php(3): askr_broadcast('a', 'x')
#1 %son_failure_exception.php(5): publish()
#2 {main}
Askr\Exception: Event not published: the ring /askr-phpt-exception (/dev/shm/askr-phpt-exception) does not exist; is askrd running?
false
bool(true)
int(7)
string(6) "before"
string(4) "kept"

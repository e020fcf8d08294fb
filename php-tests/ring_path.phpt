--TEST--
askr.ring may be a path, for a volume that containers share
--INI--
askr.ring=/askr-phpt-path
--FILE--
<?php
require __DIR__ . '/ring.inc';
// A directory of its own on tmpfs.
mkdir($directory = '/dev/shm/askr-phpt-path.d');
$askrd = new Askrd(ring: "$directory/ring");
echo php('var_dump(askr_broadcast("a", "x"), askr_status()["ring"]);', ['askr.ring' => "$directory/ring"]);
show(1, "$directory/ring");
// The name without a directory is another ring.
echo php('var_dump(askr_broadcast("a", "x"));', ['askr.on_failure' => 'silent']);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/dev/shm/askr-phpt-path.d/ring');
rmdir('/dev/shm/askr-phpt-path.d');
?>
--EXPECT--
bool(true)
string(30) "/dev/shm/askr-phpt-path.d/ring"
a {} x
bool(false)

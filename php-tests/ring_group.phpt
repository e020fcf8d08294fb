--TEST--
A ring of an unknown owner is believed if it is of the group that askr.ring_group names, and only members could make it
--INI--
askr.ring=/run/askr-phpt-group/ring
--FILE--
<?php
require __DIR__ . '/ring.inc';
if (trim((string) shell_exec('id -u')) !== '0') {
    exit("this test needs root: it gives files to another user and group\n");
}
$directory = '/run/askr-phpt-group';
mkdir($directory);
$askrd = new Askrd();
$code = 'var_dump(askr_broadcast("a", "x"), askr_status()["failures"]["wrong_owner"]);';
$ini = fn (string $group) => ['askr.on_failure' => 'silent', 'askr.ring_group' => $group];

chown(ring_path(), 65532);
chgrp(ring_path(), 65533);
echo "--- not named\n";
echo php($code, $ini(''));
echo "--- by number\n";
echo php($code, $ini('65533'));
echo "--- another group, one that does not exist, the owner's number\n";
echo php($code, $ini('65534'));
echo php($code, $ini('no-such-group'));
echo php($code, $ini('65532'));
echo "--- by name\n";
chgrp(ring_path(), 'nogroup');
echo php($code, $ini('nogroup'));
echo "--- in a directory that gives its group to what anybody makes there\n";
chgrp($directory, 'nogroup');
chmod($directory, 03777);
echo php($code, $ini('nogroup'));
echo "--- in one that does so for members only\n";
chmod($directory, 02775);
echo php($code, $ini('nogroup'));
echo "--- anybody may write the ring itself\n";
chmod(ring_path(), 0666);
echo php($code, $ini('nogroup'));
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/run/askr-phpt-group/ring');
@rmdir('/run/askr-phpt-group');
?>
--EXPECT--
--- not named
bool(false)
int(1)
--- by number
bool(true)
int(0)
--- another group, one that does not exist, the owner's number
bool(false)
int(1)
bool(false)
int(1)
bool(false)
int(1)
--- by name
bool(true)
int(0)
--- in a directory that gives its group to what anybody makes there
bool(false)
int(1)
--- in one that does so for members only
bool(true)
int(0)
--- anybody may write the ring itself
bool(false)
int(1)

--TEST--
A ring of an unknown owner, or one that others may write, is not trusted; askr.ring_owner allows one more
--INI--
askr.ring=/askr-phpt-owner
--FILE--
<?php
require __DIR__ . '/ring.inc';
if (trim((string) shell_exec('id -u')) !== '0') {
    exit("this test needs root: it gives files to another user\n");
}
$askrd = new Askrd();
$code = 'var_dump(askr_broadcast("a", "x"), askr_status()["reason"], askr_status()["failures"]["wrong_owner"]);';
$silent = ['askr.on_failure' => 'silent'];

chown(ring_path(), 65532);
echo php($code, $silent);
echo "--- allowed by number, by name\n";
echo php($code, $silent + ['askr.ring_owner' => '65532']);
chown(ring_path(), 'nobody');
echo php($code, $silent + ['askr.ring_owner' => 'nobody']);
echo "--- another one, and one that does not exist\n";
echo php($code, $silent + ['askr.ring_owner' => '65531']);
echo php($code, $silent + ['askr.ring_owner' => 'no-such-user']);
echo "--- its own\n";
echo php($code, $silent, nobody());
echo "--- anybody may write\n";
chown(ring_path(), 0);
chmod(ring_path(), 0666);
echo php($code, $silent);
echo "--- a link\n";
// A daemon that runs finds its ring gone from its name within a second, and makes another one there.
$askrd->stop();
rename(ring_path(), ring_path() . '.elsewhere');
symlink(ring_path() . '.elsewhere', ring_path());
echo php('var_dump(askr_broadcast("a", "x"), askr_status()["attached"]);', $silent);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-owner');
?>
--EXPECT--
bool(false)
string(126) "the ring /askr-phpt-owner (/dev/shm/askr-phpt-owner) belongs to uid 65532, which is not trusted to own it; see askr.ring_owner"
int(1)
--- allowed by number, by name
bool(true)
NULL
int(0)
bool(true)
NULL
int(0)
--- another one, and one that does not exist
bool(false)
string(126) "the ring /askr-phpt-owner (/dev/shm/askr-phpt-owner) belongs to uid 65534, which is not trusted to own it; see askr.ring_owner"
int(1)
bool(false)
string(126) "the ring /askr-phpt-owner (/dev/shm/askr-phpt-owner) belongs to uid 65534, which is not trusted to own it; see askr.ring_owner"
int(1)
--- its own
bool(true)
NULL
int(0)
--- anybody may write
bool(false)
string(97) "the ring /askr-phpt-owner (/dev/shm/askr-phpt-owner) may be written by every user of this machine"
int(1)
--- a link
bool(false)
bool(false)

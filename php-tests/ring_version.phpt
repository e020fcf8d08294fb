--TEST--
Files that are no ring of this version are refused, and left as they are
--INI--
askr.ring=/askr-phpt-version
askr.on_failure=silent
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
$askrd->stop();
$ring = file_get_contents(ring_path(), length: 4096);
$size = filesize(ring_path());

function attempt(string $what, string $content, int $size): void
{
    unlink(ring_path());
    $file = fopen(ring_path(), 'x');
    chmod(ring_path(), 0660);
    fwrite($file, $content);
    ftruncate($file, $size);
    $before = md5_file(ring_path());
    $published = var_export(askr_broadcast('a', 'x'), true);
    $status = askr_status();
    $why = array_filter($status['failures'], fn ($count, $key) => $count !== ($GLOBALS['seen'][$key] ?? 0), ARRAY_FILTER_USE_BOTH);
    $GLOBALS['seen'] = $status['failures'];
    echo "$what: $published, ", implode(', ', array_keys($why)), ": $status[reason]",
        md5_file(ring_path()) === $before ? '' : ' AND THE FILE CHANGED', "\n";
}

attempt('empty', '', 0);
attempt('zeros', '', $size);
attempt('text', "#!/bin/sh\n", 10);
attempt('another magic', substr_replace($ring, chr(ord($ring[7]) ^ 1), 7, 1), $size);
attempt('another layout', substr_replace($ring, chr(ord($ring[8]) ^ 0x40), 8, 1), $size);
attempt('a flipped bit', substr_replace($ring, chr(ord($ring[0x20]) ^ 1), 0x20, 1), $size);
attempt('cut short', $ring, 4096);
attempt('too long', $ring, $size + 4096);

unlink(ring_path());
mkdir(ring_path());
var_dump(askr_broadcast('a', 'x'), askr_status()['reason']);
rmdir(ring_path());
posix_fifo(ring_path());
var_dump(askr_broadcast('a', 'x'), askr_status()['reason']);
unlink(ring_path());

// And a good one is taken again.
$askrd = new Askrd();
var_dump(askr_broadcast('a', 'x'), askr_status()['reason']);

function posix_fifo(string $path): void
{
    shell_exec('mkfifo ' . escapeshellarg($path));
}
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
@rmdir(ring_path('/askr-phpt-version'));
clean('/askr-phpt-version');
?>
--EXPECT--
empty: false, wrong_version: the ring /askr-phpt-version (/dev/shm/askr-phpt-version) is not an Askr ring of this version; do askrd and this publisher have the same version?
zeros: false, wrong_version: the ring /askr-phpt-version (/dev/shm/askr-phpt-version) is not an Askr ring of this version; do askrd and this publisher have the same version?
text: false, wrong_version: the ring /askr-phpt-version (/dev/shm/askr-phpt-version) is not an Askr ring of this version; do askrd and this publisher have the same version?
another magic: false, wrong_version: the ring /askr-phpt-version (/dev/shm/askr-phpt-version) is not an Askr ring of this version; do askrd and this publisher have the same version?
another layout: false, wrong_version: the ring /askr-phpt-version (/dev/shm/askr-phpt-version) is not an Askr ring of this version; do askrd and this publisher have the same version?
a flipped bit: false, invalid: the ring /askr-phpt-version (/dev/shm/askr-phpt-version) has a damaged header (checksum)
cut short: false, invalid: the ring /askr-phpt-version (/dev/shm/askr-phpt-version) has a damaged header (length)
too long: false, invalid: the ring /askr-phpt-version (/dev/shm/askr-phpt-version) has a damaged header (length)
bool(false)
string(104) "the ring /askr-phpt-version (/dev/shm/askr-phpt-version) cannot be opened (Is a directory (os error 21))"
bool(false)
string(98) "the ring /askr-phpt-version (/dev/shm/askr-phpt-version) has a damaged header (not a regular file)"
bool(true)
NULL

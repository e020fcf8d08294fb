--TEST--
askr_cursor() on one of several hosts is a vector: of this host what was published, also while askrd is away
--INI--
askr.ring=/askr-phpt-cursor-hosts
askr.on_failure=exception
--FILE--
<?php
require __DIR__ . '/ring.inc';
/** Its only part here: the other hosts cannot be reached. */
$place = function (): int {
    // While askrd writes it down, which takes its time on a machine that is busy, there is none.
    wait_until(fn () => preg_match('/^~[A-Za-z0-9_-]+$/', $GLOBALS['cursor'] = askr_cursor()));
    $cursor = $GLOBALS['cursor'];
    $bytes = base64_decode(strtr(substr($cursor, 1), '-_', '+/'));
    if (bin2hex(substr($bytes, 0, 5)) !== substr(askr_status()['epoch'], 0, 10)) {
        throw new LogicException('another origin');
    }
    $position = 0;
    foreach (str_split(substr($bytes, 5)) as $n => $byte) {
        $position |= (ord($byte) & 0x7f) << (7 * $n);
    }
    return $position;
};
$away = 'unix:/nonexistent/redis.sock';
$askrd = new Askrd(['RING_SLOTS' => 1024, 'CLUSTER_URL' => $away]);
wait_until(fn () => askr_cursor()[0] === '~');
$empty = $place();
askr_broadcast('a', '1');
askr_broadcast('a', '2');
var_dump($place() - $empty, $place() === askr_status()['tail'] - 1);
wait_until(fn () => askr_status()['daemon_read'] === askr_status()['tail']);
var_dump($place() - $empty);

echo "askrd is killed\n";
$askrd->stop(SIGKILL);
askr_broadcast('a', '3');
var_dump($place() - $empty);

echo "it comes back on one host alone\n";
$askrd = new Askrd(['RING_SLOTS' => 1024]);
var_dump(preg_match('/^[0-9a-f]{12}-[1-9][0-9]*$/', askr_cursor()));

echo "what is no cursor is refused, whatever it begins with\n";
told(fn () => askr_history('a', 10, '~AAAA'));
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-cursor-hosts');
?>
--EXPECT--
int(2)
bool(true)
int(2)
askrd is killed
int(3)
it comes back on one host alone
int(1)
what is no cursor is refused, whatever it begins with
ValueError: askr_history(): Argument #3 ($since) must be a cursor: 12 hexadecimal digits, a dash, and a number, or a tilde and base64url

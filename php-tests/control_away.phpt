--TEST--
askrd is away: an Askr\Exception that names the socket and what to look at; nothing is left behind
--FILE--
<?php
require __DIR__ . '/ring.inc';
$path = sys_get_temp_dir() . '/askr-phpt-away-' . getmypid() . '.sock';
$tell = function (array $ini, array $as = []) use ($path): void {
    $code = 'foreach ([fn () => askr_channels("a"), fn () => askr_members("presence-a"), fn () => askr_disconnect("7")] as $call)
        try { $call(); echo "NO EXCEPTION\n"; } catch (Askr\Exception $e) { $why[$e->getMessage()] = true; }
        echo implode("\n", array_keys($why)), "\n";';
    echo str_replace($path, 'SOCKET', php($code, $ini, $as));
};
$tell(['askr.control' => $path]);
$tell(['askr.control' => '']);
$tell(['askr.control' => $path, 'askr.enabled' => '0']);
// Left behind by an askrd that was killed.
$socket = stream_socket_server("unix://$path");
fclose($socket);
var_dump(file_exists($path));
$tell(['askr.control' => $path]);
chmod($path, 0600);
$tell(['askr.control' => $path], nobody());
unlink($path);

// Each call opens a socket, makes a sentence and throws it.
$code = 'function resident() { return (int) explode(" ", file_get_contents("/proc/self/statm"))[1] * 4096; }
    function rounds($n) { while ($n-- > 0) {
        try { askr_channels("x"); } catch (Askr\Exception) {}
        try { askr_members("presence-x"); } catch (Askr\Exception) {}
        try { askr_disconnect("7"); } catch (Askr\Exception) {}
    } }
    rounds(2000); $before = resident(); $open = scandir("/proc/self/fd"); rounds(20000);
    var_dump(resident() - $before <= 256 * 1024, count(scandir("/proc/self/fd")) === count($open));';
echo php($code, ['askr.control' => $path]);

echo "--- settings\n";
$show = 'echo ini_get("askr.control"), "\n"; var_dump(ini_set("askr.control", "/x"));';
echo php($show), php($show, ['askr.control' => 'run/x.sock']), php($show, ['askr.control' => '/' . str_repeat('x', 107)]),
    php($show, ['askr.control' => '/' . str_repeat('x', 106)]), php($show, ['askr.control' => "/\xff"]);
?>
--EXPECTF--
askrd at SOCKET cannot be asked: No such file or directory (os error 2); is askrd running with this control socket?
askrd cannot be asked: askr.control names no socket
askrd is not asked: disabled by askr.enabled = 0
bool(true)
askrd at SOCKET cannot be asked: Connection refused (os error 111); is askrd running with this control socket?
askrd at SOCKET cannot be asked: Permission denied (os error 13); does this user belong to the socket's group?
bool(true)
bool(true)
--- settings
/run/askr/control.sock
bool(false)

Warning: PHP Startup: askr.control must be empty or an absolute path of at most 107 bytes in Unknown on line 0
/run/askr/control.sock
bool(false)

Warning: PHP Startup: askr.control must be empty or an absolute path of at most 107 bytes in Unknown on line 0
/run/askr/control.sock
bool(false)
/%r(x{106})%r
bool(false)

Warning: PHP Startup: askr.control must be valid UTF-8 in Unknown on line 0
/run/askr/control.sock
bool(false)

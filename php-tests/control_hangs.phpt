--TEST--
A control socket that takes the question and never answers, or answers for ever, is given up
--FILE--
<?php
require __DIR__ . '/ring.inc';
$path = sys_get_temp_dir() . '/askr-phpt-hangs-' . getmypid() . '.sock';
$listener = stream_socket_server("unix://$path");
$why = 'try { askr_members("presence-a"); } catch (Askr\Exception $e) { echo $e->getMessage(), "\n"; }';
// Nobody accepts; the kernel does.
echo str_replace($path, 'SOCKET', php($why, ['askr.control' => $path]));
fclose(stream_socket_accept($listener, 0));

// A byte now and then, each in time for a single read, and a signal with each, which interrupts the read
// but not the call. The client hangs up.
$out = tmpfile();
$client = php_start('$signals = 0;
    pcntl_signal(SIGUSR1, function () use (&$signals) { $signals++; });' . $why . '
    pcntl_signal_dispatch();
    var_dump($signals > 1);', ['askr.control' => $path], [], $out);
$connection = stream_socket_accept($listener, 60);
fwrite($connection, "HTTP/1.1 200 OK\r\n");
while (@fwrite($connection, 'x') === 1) {
    proc_terminate($client, SIGUSR1);
    usleep(20_000);
}
proc_close($client);
rewind($out);
echo str_replace($path, 'SOCKET', stream_get_contents($out));
?>
--CLEAN--
<?php
array_map('unlink', glob(sys_get_temp_dir() . '/askr-phpt-hangs-*.sock'));
?>
--EXPECT--
askrd at SOCKET did not answer in time; is it stopped or overloaded?
askrd at SOCKET did not answer in time; is it stopped or overloaded?
bool(true)

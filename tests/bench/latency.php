<?php

// latency.php COUNT PAUSE_US [DATAGRAM_SOCKET]: publishes COUNT times its clock, to Askr or to the
// floor, with a pause between, so that each event meets an idle server.

[, $count, $pause] = $argv;
$floor = isset($argv[3]) ? stream_socket_client("udg://$argv[3]") : null;
for ($i = 0; $i < $count; $i++) {
    usleep((int) $pause);
    if ($floor) {
        fwrite($floor, (string) hrtime(true));
    } elseif (!askr_broadcast('bench', (string) hrtime(true))) {
        throw new RuntimeException(json_encode(askr_status()));
    }
}

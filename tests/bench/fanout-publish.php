<?php

// fanout-publish.php askr | floor SOCKET | nchan SOCKET: publishes what standard input asks for.
//   burst COUNT FIRST MODULO   COUNT events at once; FIRST >= 0: one each for c<FIRST>, c<FIRST+1>, …
//   rate COUNT PER_SECOND      COUNT events, each at its time
// Says "." when a command is done. An event's data is "@", a clock in 19 digits, and filling: 200 bytes.
// At a rate the clock is when the event was due, so that a publisher that is held up tells it.

[, $kind] = $argv;
$socket = $argv[2] ?? null;
$filling = str_repeat('x', 180);

function data(int $clock): string
{
    global $filling;
    return sprintf('@%019d', $clock) . $filling;
}

/** @param list<array{string, string}> $events channel and data, sent back to back */
function send(array $events): void
{
    global $kind, $socket;
    static $peer = null;
    if ($kind === 'askr') {
        foreach ($events as [$channel, $data]) {
            if (!askr_broadcast($channel, $data)) {
                throw new RuntimeException(json_encode(askr_status()));
            }
        }
    } elseif ($kind === 'floor') {
        $peer ??= stream_socket_client("udg://$socket");
        foreach ($events as [, $data]) {
            fwrite($peer, $data);
        }
    } else {
        $peer ??= stream_socket_client("unix://$socket");
        send_nchan($peer, $events);
    }
}

/** Pipelined over a kept connection, which is the best that nchan's way in allows. */
function send_nchan($peer, array $events): void
{
    $requests = '';
    foreach ($events as [$channel, $data]) {
        $length = strlen($data);
        $requests .= "POST /pub?channel=$channel HTTP/1.1\r\nHost: bench\r\nContent-Length: $length\r\n\r\n$data";
    }
    fwrite($peer, $requests);
    foreach ($events as $_) {
        $status = fgets($peer);
        $length = 0;
        while (($line = rtrim(fgets($peer))) !== '') {
            if (stripos($line, 'content-length:') === 0) {
                $length = (int) substr($line, 15);
            }
        }
        for (; $length > 0; $length -= strlen($got)) {
            $got = fread($peer, $length);
        }
        if (!str_contains($status, ' 20')) {
            throw new RuntimeException("nchan said $status");
        }
    }
}

while (($line = fgets(STDIN)) !== false) {
    [$verb, $count, $first, $modulo] = explode(' ', trim($line)) + [3 => 0];
    if ($verb === 'burst') {
        $events = [];
        for ($n = 0; $n < $count; $n++) {
            $events[] = [$first < 0 ? 'bench' : 'c' . ($first + $n) % $modulo, ''];
        }
        // The clock last, so that a burst of one is told from its publish on.
        foreach ($events as $n => &$event) {
            $event[1] = data(hrtime(true) + $n);
        }
        send($events);
    } else {
        $start = hrtime(true);
        for ($n = 0; $n < $count; $n++) {
            $due = $start + intdiv($n * 1_000_000_000, (int) $first);
            while (($early = $due - hrtime(true)) > 0) {
                usleep(intdiv($early, 1000) + 1);
            }
            // Held up by less than a sleep's precision, it is the sleep, not the server.
            send([['bench', data($early > -200_000 ? hrtime(true) : $due)]]);
        }
    }
    fwrite(STDOUT, '.');
}

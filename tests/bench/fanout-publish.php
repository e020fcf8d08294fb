<?php

// fanout-publish.php KIND CHANNEL BYTES…: publishes what standard input asks for.
//   KIND: askr | mercure public | mercure private (CHANNEL is the topic) | floor SOCKET | nchan SOCKET | pusher PORT ID KEY SECRET BATCH, its arguments after BYTES
//   BYTES of an event's data, 20 or more; several, with commas, are taken in turns
//   burst COUNT FIRST MODULO   COUNT events at once; FIRST >= 0: one each for c<FIRST>, c<FIRST+1>, …
//   rate COUNT PER_SECOND      COUNT events, each at its time
// Says "." when a command is done. An event's data is "@", a clock in 19 digits, and filling.
// At a rate the clock is when the event was due, so that a publisher that is held up tells it.

[, $kind, $channel, $bytes] = $argv;
$target = array_slice($argv, 4);
$fillings = array_map(fn ($size) => str_repeat('x', (int) $size - 20), explode(',', $bytes));

function data(int $clock): string
{
    global $fillings;
    static $n = 0;
    return sprintf('@%019d', $clock) . $fillings[$n++ % count($fillings)];
}

/** @param list<array{string, string}> $events channel and data, sent back to back */
function send(array $events): void
{
    global $kind, $target;
    static $peer = null;
    if ($kind === 'askr') {
        foreach ($events as [$channel, $data]) {
            if (!askr_broadcast($channel, $data)) {
                throw new RuntimeException(json_encode(askr_status()));
            }
        }
    } elseif ($kind === 'mercure') {
        foreach ($events as [$topic, $data]) {
            mercure_publish($topic, $data, $target[0] === 'private');
        }
    } elseif ($kind === 'floor') {
        $peer ??= stream_socket_client("udg://$target[0]");
        foreach ($events as [, $data]) {
            fwrite($peer, $data);
        }
    } elseif ($kind === 'nchan') {
        $peer ??= stream_socket_client("unix://$target[0]");
        send_nchan($peer, $events);
    } else {
        send_pusher($events);
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
        accepted($peer);
    }
}

/** Pusher's HTTP API in batches of up to BATCH events, over a connection that is kept if the server keeps it. */
function send_pusher(array $events): void
{
    global $target;
    static $peer = null;
    [$port, $id, $key, $secret, $most] = $target;
    foreach (array_chunk($events, (int) $most) as $chunk) {
        $batch = array_map(fn ($event) => ['name' => 'message', 'channel' => $event[0], 'data' => $event[1]], $chunk);
        [$path, $body] = count($batch) === 1
            ? ["/apps/$id/events", json_encode($batch[0])]
            : ["/apps/$id/batch_events", json_encode(['batch' => $batch])];
        $query = "auth_key=$key&auth_timestamp=" . time() . '&auth_version=1.0&body_md5=' . md5($body);
        $query .= '&auth_signature=' . hash_hmac('sha256', "POST\n$path\n$query", $secret);
        $length = strlen($body);
        $peer ??= stream_socket_client("tcp://127.0.0.1:$port");
        fwrite($peer, "POST $path?$query HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: $length\r\n\r\n$body");
        if (!accepted($peer)) {
            fclose($peer);
            $peer = null;
        }
    }
}

/** Reads one answer, which must be good. Whether the connection is kept. */
function accepted($peer): bool
{
    $status = fgets($peer);
    $length = 0;
    $kept = true;
    while (($line = rtrim(fgets($peer))) !== '') {
        if (stripos($line, 'content-length:') === 0) {
            $length = (int) substr($line, 15);
        }
        if (strcasecmp($line, 'connection: close') === 0) {
            $kept = false;
        }
    }
    $body = '';
    while (strlen($body) < $length) {
        $body .= fread($peer, $length - strlen($body));
    }
    if (!str_contains($status, ' 20')) {
        throw new RuntimeException("refused: $status$body");
    }
    return $kept;
}

while (($line = fgets(STDIN)) !== false) {
    [$verb, $count, $first, $modulo] = explode(' ', trim($line)) + [3 => 0];
    if ($verb === 'burst') {
        $events = [];
        for ($n = 0; $n < $count; $n++) {
            $events[] = [$first < 0 ? $channel : 'c' . ($first + $n) % $modulo, ''];
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
            while (($now = hrtime(true)) < $due) {
                usleep(intdiv($due - $now, 1000) + 1);
            }
            // Held up by less than a sleep's precision, it is the sleep, not the server. The clock is read once:
            // read again after a pause in between, it could pass the one that the next event is due at.
            send([[$channel, data($now - $due < 200_000 ? $now : $due)]]);
        }
    }
    fwrite(STDOUT, '.');
}

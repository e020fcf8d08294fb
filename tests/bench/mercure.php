<?php

// Nanoseconds a call, as JSON: mercure.php PORT TOKEN CALLS. In slices of each in turns, of which the median is told: a
// slice in which something else had the processor says nothing about a call.

[, $port, $token, $calls] = $argv;
$data = str_repeat('x', 200);
$topic = 'https://example.com/books/1';

// As cheap as a POST can be: one connection that is kept, the request made beforehand.
$body = http_build_query(['topic' => $topic, 'data' => $data]);
$request = "POST /.well-known/mercure HTTP/1.1\r\nHost: example.com\r\nAuthorization: Bearer $token\r\n"
    . "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: " . strlen($body) . "\r\n\r\n$body";
$peer = stream_socket_client("tcp://127.0.0.1:$port");

function answered($peer): void
{
    $status = fgets($peer);
    $length = 0;
    while (($line = rtrim(fgets($peer))) !== '') {
        if (stripos($line, 'content-length:') === 0) $length = (int) substr($line, 15);
    }
    $id = fread($peer, $length);
    if (!str_contains($status, ' 200') || $id[0] !== '#') throw new RuntimeException("$status$id");
}

// The loops are written out: a callable inside them would cost more than what is measured.
$loops = [
    'broadcast' => [1000, function (int $n) use ($data): void {
        for ($i = 0; $i < $n; $i++) askr_broadcast('bench', $data);
    }],
    'publish' => [1000, function (int $n) use ($topic, $data): void {
        for ($i = 0; $i < $n; $i++) mercure_publish($topic, $data);
    }],
    'private' => [1000, function (int $n) use ($topic, $data): void {
        for ($i = 0; $i < $n; $i++) mercure_publish($topic, $data, true);
    }],
    'two' => [1000, function (int $n) use ($topic, $data): void {
        for ($i = 0; $i < $n; $i++) mercure_publish([$topic, 'https://example.com/books'], $data);
    }],
    'post' => [20, function (int $n) use ($peer, $request): void {
        for ($i = 0; $i < $n; $i++) {
            fwrite($peer, $request);
            answered($peer);
        }
    }],
];
// The first slice attaches and warms up.
for ($slice = -1; $slice < $calls / 1000; $slice++) {
    foreach ($loops as $name => [$n, $loop]) {
        $start = hrtime(true);
        $loop($n);
        if ($slice >= 0) $ns[$name][] = (hrtime(true) - $start) / $n;
    }
}
echo json_encode(array_map(function (array $values): float {
    sort($values);
    return $values[intdiv(count($values), 2)];
}, $ns));

<?php

// Publishes the events given as JSON on standard input, in order: [{channel, payload64, event?, id?,
// retry?, except?}, …]. Prints [true, …].

$events = json_decode(stream_get_contents(STDIN), true, flags: JSON_THROW_ON_ERROR);
echo json_encode(array_map(fn (array $e): bool => askr_broadcast(
    $e['channel'],
    base64_decode($e['payload64']),
    $e['event'] ?? null,
    $e['id'] ?? null,
    $e['retry'] ?? null,
    $e['except'] ?? null,
), $events));

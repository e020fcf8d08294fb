<?php

// Asks askrd, as the JSON on standard input says: [[function, argument…], …]. Prints what each returned,
// or {"class", "message"} of what it threw.

$calls = json_decode(stream_get_contents(STDIN), true, flags: JSON_THROW_ON_ERROR);
echo json_encode(array_map(function (array $call): mixed {
    try {
        return $call[0](...array_slice($call, 1));
    } catch (Throwable $error) {
        return ['class' => $error::class, 'message' => $error->getMessage()];
    }
}, $calls), 0, 2048);

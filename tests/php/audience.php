<?php

// Asks askrd, as the JSON on standard input, or under FPM the request's body, says: [[function, argument…], …].
// Prints what each returned, or {"class", "message"} of what it threw.

$input = PHP_SAPI === 'cli' ? 'php://stdin' : 'php://input';
$calls = json_decode(file_get_contents($input), true, flags: JSON_THROW_ON_ERROR);
echo json_encode(array_map(function (array $call): mixed {
    try {
        return $call[0](...array_slice($call, 1));
    } catch (Throwable $error) {
        return ['class' => $error::class, 'message' => $error->getMessage()];
    }
}, $calls), 0, 2048);

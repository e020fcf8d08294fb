<?php

// A click on the page comes here. One call publishes; the rest is manners.

declare(strict_types=1);

header('Content-Type: application/json');
header('Cache-Control: no-store');

$text = $_POST['text'] ?? null;
$count = filter_var($_POST['count'] ?? 1, FILTER_VALIDATE_INT, ['options' => ['min_range' => 1, 'max_range' => 1000]]);
if ($_SERVER['REQUEST_METHOD'] !== 'POST' || !is_string($text) || strlen($text) > 500 || $count === false) {
    http_response_code(400);
    exit(json_encode(['error' => 'POST text (at most 500 bytes) and, if you like, count (1 to 1000)']));
}

$published = 0;
$spent = 0;
for ($i = 1; $i <= $count; $i++) {
    $event = json_encode([
        'text' => $count > 1 ? "$text ($i of $count)" : $text,
        'from' => ($_POST['from'] ?? '') === 'demo' ? 'demo' : 'you',
        'worker' => getmypid(),
        'at' => microtime(true),
    ], JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE);

    $start = hrtime(true);
    $published += (int) askr_broadcast('demo', $event);
    $spent += hrtime(true) - $start;
}

if ($published < $count) {
    http_response_code(503);
}
echo json_encode([
    'published' => $published,
    'microseconds' => round($spent / 1000 / $count, 2),
    'error' => $published < $count ? askr_status() : null,
], JSON_PARTIAL_OUTPUT_ON_ERROR);

<?php

// Publishes an event of this name, after others were registered: ?event=NAME&register[]=NAME&loose=1. Tells what came
// of it, and which names there are.

header('Content-Type: application/json');
$answer = ['worker' => getmypid()];
try {
    if (isset($_GET['loose'])) $answer['loosened'] = ini_set('askr.strict', '0');
    askr_register_event(...$_GET['register'] ?? []);
    $answer['published'] = askr_broadcast('orders', 'payload', $_GET['event'] ?? null);
} catch (ValueError $error) {
    $answer['refused'] = $error->getMessage();
}
echo json_encode($answer + ['events' => askr_events()]);

<?php

// Kills askrd, as an operator's mistake or the kernel would; demo/run starts it again. Only for the demo: the header
// cannot come from another site's page.

declare(strict_types=1);

header('Content-Type: application/json');
header('Cache-Control: no-store');
if ($_SERVER['REQUEST_METHOD'] !== 'POST' || ($_SERVER['HTTP_X_DEMO'] ?? '') !== 'kill') {
    http_response_code(400);
    exit(json_encode(['error' => 'POST with X-Demo: kill']));
}
$pid = (int) file_get_contents((string) getenv('ASKRD_PID'));
exec('kill -KILL ' . $pid, result_code: $failed);
echo json_encode(['killed' => $failed === 0 ? $pid : null]);

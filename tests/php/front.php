<?php

// The site's front under FPM. POST /publish with a JSON body publishes one event; GET /worker tells
// who answers; POST /login gives a cookie with a token for the user's own channel, POST /token one for these channels;
// GET /live is a page with the ring's place.

header('Content-Type: application/json');
switch ("$_SERVER[REQUEST_METHOD] " . strtok($_SERVER['REQUEST_URI'], '?')) {
    case 'POST /publish':
        $e = json_decode(file_get_contents('php://input'), true, flags: JSON_THROW_ON_ERROR);
        $published = askr_broadcast($e['channel'], $e['payload'], $e['event'] ?? null, $e['id'] ?? null);
        echo json_encode(['published' => $published, 'worker' => getmypid()]);
        break;
    case 'POST /load':
        require __DIR__ . '/load.php';
        $e = json_decode(file_get_contents('php://input'), true, flags: JSON_THROW_ON_ERROR);
        publish_load($e['publisher'], $e['from'], $e['count'], $e['acknowledged']);
        echo json_encode(['worker' => getmypid()]);
        break;
    case 'POST /login':
        $e = json_decode(file_get_contents('php://input'), true, flags: JSON_THROW_ON_ERROR);
        $token = askr_token(["private-user.$e[user]", 'presence-team'], $e['ttl'], $e['user'],
            ['name' => ucfirst($e['user'])]);
        // Over TLS it would be Secure, too.
        setcookie('askr_token', $token, ['path' => '/askr', 'httponly' => true, 'samesite' => 'Lax']);
        echo json_encode(['expires' => time() + $e['ttl']]);
        break;
    case 'POST /token':
        $e = json_decode(file_get_contents('php://input'), true, flags: JSON_THROW_ON_ERROR);
        $token = askr_token($e['channels'] ?? [], $e['ttl'], $e['user'], ['name' => ucfirst($e['user'])], $e['patterns'] ?? []);
        // For every path: /askr/ and /app/.
        setcookie('askr_token', $token, ['path' => '/', 'httponly' => true, 'samesite' => 'Lax']);
        echo json_encode(['token' => $token]);
        break;
    case 'GET /live':
        // A page that shows state, and where that was read.
        header('Content-Type: text/html');
        echo '<!doctype html><title>Askr</title><meta name="askr-cursor" content="', askr_cursor(), '">', $_GET['body'] ?? '';
        break;
    case 'GET /worker':
        echo json_encode(['worker' => getmypid()]);
        break;
    default:
        http_response_code(404);
        echo json_encode(['error' => 'no such page']);
}

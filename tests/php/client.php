<?php

// The front of the tests of clients/js: a page with a cursor, tokens, and an application that publishes.

$body = json_decode(file_get_contents('php://input'), true) ?? [];
$path = strtok($_SERVER['REQUEST_URI'], '?');
if ($path === '/page' || $path === '/other') {
    header('Content-Type: text/html; charset=utf-8');
    echo '<!doctype html><title>Askr</title><meta name="askr-cursor" content="', htmlspecialchars(askr_cursor() ?? ''),
        '"><script type="module" src="/harness.js"></script>';
    return;
}
header('Content-Type: application/json');
switch ("$_SERVER[REQUEST_METHOD] $path") {
    case 'POST /token':
        // Somebody who is signed out has this file.
        if (is_file(getenv('SIGNED_OUT') . "/$body[user]")) {
            http_response_code(401);
            echo json_encode(['token' => null]);
            break;
        }
        echo json_encode(['token' => askr_token($body['channels'], $body['ttl'], $body['user'], ['name' => ucfirst($body['user'])])]);
        break;
    case 'POST /publish':
        $events = array_map(fn ($e) => $e + ['event' => 'counted'], $body['events']);
        echo json_encode(['published' => askr_broadcast_all($events)]);
        break;
    case 'POST /disconnect':
        echo json_encode(['ended' => askr_disconnect_user($body['user'])]);
        break;
    default:
        http_response_code(404);
        echo json_encode(['error' => 'no such page']);
}

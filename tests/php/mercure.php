<?php

// A site with a Mercure hub, under FPM. POST /publish publishes an update by mercure_publish(); POST /login gives a cookie
// with a token of Mercure 1.0.

header('Content-Type: application/json');
$body = json_decode(file_get_contents('php://input'), true);

/** A token for these topics, each text or ['match' => …, 'match_type' => …]. */
function mercure_token(array $actions, array $topics, int $seconds, mixed $payload = null): string
{
    $part = fn (string $bytes): string => rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
    $detail = [
        'type' => 'https://mercure.rocks/authorization-detail',
        'actions' => $actions,
        'topics' => array_map(fn ($topic) => is_string($topic) ? ['match' => $topic] : $topic, $topics),
    ];
    $claims = [
        'iss' => getenv('MERCURE_JWT_ISSUER'),
        'aud' => getenv('MERCURE_PUBLIC_URL'),
        'exp' => time() + $seconds,
        'authorization_details' => [$payload === null ? $detail : $detail + ['payload' => $payload]],
    ];
    $signed = $part('{"alg":"HS256","typ":"at+jwt"}') . '.' . $part(json_encode($claims));
    return "$signed." . $part(hash_hmac('sha256', $signed, getenv('MERCURE_JWT_SECRET'), true));
}

switch ("$_SERVER[REQUEST_METHOD] " . strtok($_SERVER['REQUEST_URI'], '?')) {
    case 'POST /publish':
        $id = mercure_publish($body['topics'], $body['data'], $body['private'] ?? false, $body['id'] ?? null, $body['type'] ?? null);
        echo json_encode(['id' => $id]);
        break;
    case 'POST /login':
        $token = mercure_token($body['actions'], $body['topics'], $body['seconds'], $body['payload'] ?? null);
        setcookie('__Secure-mercure_access_token', $token,
            ['path' => '/.well-known/mercure', 'secure' => true, 'httponly' => true, 'samesite' => 'Strict']);
        echo json_encode(['expires_in' => $body['seconds']]);
        break;
    default:
        http_response_code(404);
        echo json_encode(['error' => 'no such page']);
}

<?php

// A stand-in for the package pusher/pusher-php-server, which Debian does not have: as much of its class Pusher
// as Laravel's driver `pusher` calls, written from the documentation of Pusher's HTTP API. PUSHER_PHP names
// the autoload.php of the real one to be used instead.

namespace Pusher;

class PusherException extends \Exception
{
}

class ApiErrorException extends PusherException
{
}

class Pusher
{
    private string $base;

    public function __construct(private string $key, private string $secret, private string $app, array $options)
    {
        $this->base = "$options[scheme]://$options[host]:$options[port]";
    }

    /** At most 100 channels a request, which is Pusher's limit. */
    public function trigger(array $channels, string $event, $data, array $params = []): object
    {
        foreach (array_chunk($channels, 100) as $some) {
            $this->post("/apps/$this->app/events", $params + ['name' => $event, 'data' => json_encode($data), 'channels' => $some]);
        }
        return (object) [];
    }

    public function socket_auth(string $channel, string $socket, ?string $data = null): string
    {
        $signature = hash_hmac('sha256', implode(':', array_filter([$socket, $channel, $data])), $this->secret);
        return json_encode(['auth' => "$this->key:$signature"] + ($data === null ? [] : ['channel_data' => $data]));
    }

    public function presence_auth(string $channel, string $socket, string $user, $info = null): string
    {
        return $this->socket_auth($channel, $socket, json_encode(['user_id' => $user] + ($info ? ['user_info' => $info] : [])));
    }

    private function post(string $path, array $body): void
    {
        $body = json_encode($body);
        $query = http_build_query([
            'auth_key' => $this->key, 'auth_timestamp' => time(), 'auth_version' => '1.0', 'body_md5' => md5($body),
        ]);
        $signature = hash_hmac('sha256', "POST\n$path\n$query", $this->secret);
        $answer = @file_get_contents("$this->base$path?$query&auth_signature=$signature", false, stream_context_create(['http' => [
            'method' => 'POST', 'header' => 'Content-Type: application/json', 'content' => $body, 'ignore_errors' => true, 'timeout' => 5,
        ]]));
        $status = (int) explode(' ', $http_response_header[0] ?? ' 0')[1];
        if ($status !== 200) {
            throw new ApiErrorException($answer ?: 'no answer', $status);
        }
    }
}

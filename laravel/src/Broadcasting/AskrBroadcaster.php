<?php

namespace Askr\Laravel\Broadcasting;

use Askr\Client;
use Askr\Encryption;
use Askr\Laravel\AskrManager;
use Askr\Laravel\Queue\CurrentJob;
use Askr\Laravel\UserId;
use Askr\Rule;
use Illuminate\Auth\Access\AuthorizationException;
use Illuminate\Broadcasting\Broadcasters\Broadcaster;
use Illuminate\Broadcasting\Broadcasters\UsePusherChannelConventions;
use Illuminate\Container\Container;
use Illuminate\Database\Eloquent\ModelNotFoundException;
use Illuminate\Http\Request;
use Symfony\Component\HttpKernel\Exception\AccessDeniedHttpException;
use Symfony\Component\HttpKernel\Exception\HttpExceptionInterface;

/** The driver "askr". Echo and pusher-js get what Laravel's driver for Pusher would send. */
class AskrBroadcaster extends Broadcaster
{
    use UsePusherChannelConventions;

    /** On a request while authorizeAll() asks: a channel's closure gives its answer, and nothing is signed. */
    private const ANSWER = 'askr.answer';

    /** @param array<string, mixed> $config */
    public function __construct(
        private readonly Client $client,
        private readonly AskrManager $askr,
        private readonly array $config = [],
    ) {
    }

    public function broadcast(array $channels, $event, array $payload = [])
    {
        // A page may send anything as its socket id; what has not the form of one is nobody's.
        $except = isset($payload['socket']) ? Rule::socketId($payload['socket']) : null;
        unset($payload['socket']);
        if ($channels === []) {
            return;
        }
        $app = Container::getInstance();
        $this->client->publish(
            $this->formatChannels($channels),
            json_encode($payload, JSON_THROW_ON_ERROR),
            $this->askr->eventName($event),
            except: $except,
            key: $app->resolved(CurrentJob::class) ? $app->make(CurrentJob::class)->key() : null,
        );
    }

    public function auth($request)
    {
        $channel = $request->input('channel_name');
        if (! \is_string($channel) || $channel === '' || Rule::socketId($request->input('socket_id')) === null) {
            throw new AccessDeniedHttpException;
        }
        $name = $this->normalizeChannelName($channel);
        if ($this->isGuardedChannel($channel) && ! $this->retrieveUser($request, $name)) {
            throw new AccessDeniedHttpException;
        }
        return $this->verifyUserCanAccessChannel($request, $name);
    }

    public function validAuthenticationResponse($request, $result)
    {
        if ($request->attributes->get(self::ANSWER)) {
            return $result;
        }
        [$channel, $socket] = [$request->input('channel_name'), $request->input('socket_id')];
        if (str_starts_with($channel, 'private')) {
            $answer = ['auth' => $this->client->app->authorization($socket, $channel)];
            if (str_starts_with($channel, Client::ENCRYPTED)) {
                $answer['shared_secret'] = $this->sharedSecret($channel);
            }
        } else {
            $user = $this->retrieveUser($request, $this->normalizeChannelName($channel));
            $member = json_encode(['user_id' => UserId::of($user)] + ($result ? ['user_info' => $result] : []), JSON_THROW_ON_ERROR);
            $answer = ['auth' => $this->client->app->authorization($socket, $channel, $member), 'channel_data' => $member];
        }
        $jsonp = ($this->config['jsonp'] ?? false) && $request->input('callback', false);
        return $jsonp ? response()->json($answer)->withCallback($request->callback) : $answer;
    }

    /** Sign-in of Pusher's clients, which Laravel asks for from version 9 on. */
    public function resolveAuthenticatedUser($request)
    {
        $user = parent::resolveAuthenticatedUser($request);
        $socket = Rule::socketId($request->input('socket_id'));
        if (! $user || $socket === null) {
            return null;
        }
        $user = json_encode($user, JSON_THROW_ON_ERROR);
        return ['auth' => $this->client->app->authorization($socket, '', 'user', '', $user), 'user_data' => $user];
    }

    /**
     * Asks the closures of all these channels.
     *
     * @param list<string> $channels
     *
     * @return array<string, array{user: mixed, info: mixed}> those that the user may hear; info of presence channels
     */
    public function authorizeAll(Request $request, array $channels): array
    {
        $granted = [];
        $request->attributes->set(self::ANSWER, true);
        try {
            foreach ($channels as $channel) {
                $name = $this->normalizeChannelName($channel);
                $user = $this->isGuardedChannel($channel) ? $this->retrieveUser($request, $name) : null;
                if ($user && ($result = $this->answer($request, $name))) {
                    $granted[$channel] = ['user' => $user, 'info' => str_starts_with($channel, 'presence-') ? $result : null];
                }
            }
        } finally {
            $request->attributes->remove(self::ANSWER);
        }
        return $granted;
    }

    private function answer(Request $request, string $name): mixed
    {
        try {
            return $this->verifyUserCanAccessChannel($request, $name);
        } catch (HttpExceptionInterface | AuthorizationException | ModelNotFoundException) {
            return null;
        } catch (\Throwable $e) {
            // One closure that is broken keeps its channel closed, and no other.
            report($e);
            return null;
        }
    }

    /** What subscribers of an encrypted channel decrypt with. */
    public function sharedSecret(string $channel): string
    {
        return base64_encode(Encryption::secret($channel, $this->client->encryptionKey()));
    }

    public function client(): Client
    {
        return $this->client;
    }
}

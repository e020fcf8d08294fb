<?php

namespace Askr\Laravel\Http;

use Askr\Client;
use Askr\Credentials;
use Askr\Exception;
use Askr\Laravel\AskrManager;
use Askr\Laravel\Broadcasting\AskrBroadcaster;
use Askr\Laravel\UserId;
use Askr\Rule;
use Illuminate\Broadcasting\BroadcastManager;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Symfony\Component\HttpKernel\Exception\AccessDeniedHttpException;

/**
 * One request for all channels of a page. It names them, the closures of routes/channels.php decide, and a token for
 * those that are open comes back as a cookie. Asked again, it renews the token.
 *
 *     POST {"channels": ["private-orders.7", "presence-team"]}
 *     200  {"channels": {"private-orders.7": true, "presence-team": false}, "separate": [], "expires": 1764000000}
 *
 * A token has one user, one info, and room for some 4 KB. A channel whose closure gives another one, or for which there is
 * no room, is listed in `separate`, and open by /broadcasting/auth only.
 */
class TokenController
{
    private const CHANNELS = 100;

    public function __invoke(Request $request, AskrManager $askr, BroadcastManager $broadcasting): JsonResponse
    {
        if (! $request->user()) {
            throw new AccessDeniedHttpException;
        }
        $channels = $request->input('channels');
        $names = \is_array($channels) ? array_filter($channels, 'is_string') : [];
        if ($names === [] || $names !== $channels || \count($channels) > self::CHANNELS) {
            return new JsonResponse(['message' => 'channels must be a list of 1 to ' . self::CHANNELS . ' names'], 422);
        }
        $channels = array_values(array_unique($channels));
        /** @var AskrBroadcaster $broadcaster */
        $broadcaster = $broadcasting->connection($askr->connection($askr->defaultConnection())['name']);
        $granted = $broadcaster->authorizeAll($request, array_filter($channels, self::isName(...)));

        [$user, $info] = [UserId::of($request->user()), null];
        [$open, $separate, $secrets] = [[], [], []];
        foreach ($granted as $channel => $answer) {
            $channel = (string) $channel;
            // What another member would see of "true" is nothing.
            $seen = \is_array($answer['info']) ? $answer['info'] : null;
            $fits = $seen === null || (self::isSmall($seen) && $seen === ($info ??= $seen));
            if (UserId::of($answer['user']) !== $user || ! $fits) {
                $separate[] = $channel;
                continue;
            }
            if (str_starts_with($channel, Client::ENCRYPTED)) {
                try {
                    $secrets[$channel] = $broadcaster->sharedSecret($channel);
                } catch (Exception $e) {
                    // Nobody could read it, and the other channels do not depend on it.
                    report($e);
                    continue;
                }
            }
            $open[] = $channel;
        }
        $ttl = (int) config('askr.token.ttl', 3600);
        $expires = time() + $ttl;
        $token = null;
        while ($token === null) {
            try {
                $token = $broadcaster->client()->token($open, $ttl, $user, $info);
            } catch (\ValueError $e) {
                // No room for all: as many as there is room for.
                $left = array_pop($open) ?? throw $e;
                array_unshift($separate, $left);
                unset($secrets[$left]);
            }
        }

        $answer = ['channels' => array_fill_keys($channels, false), 'separate' => $separate, 'expires' => $expires];
        $answer['channels'] = array_fill_keys($open, true) + $answer['channels'];
        if ($secrets !== []) {
            $answer['shared_secrets'] = $secrets;
        }
        $response = new JsonResponse($answer, 200, ['Cache-Control' => 'no-store']);
        foreach (TokenCookie::of($token, $expires, $request->isSecure()) as $cookie) {
            $response->headers->setCookie($cookie);
        }
        return $response;
    }

    /** Whether a token may have it. */
    private static function isSmall(array $info): bool
    {
        $json = json_encode($info);
        return $json !== false && \strlen($json) <= Credentials::INFO_BYTES;
    }

    private static function isName(string $channel): bool
    {
        try {
            return Rule::channel($channel) !== '';
        } catch (\ValueError) {
            return false;
        }
    }
}

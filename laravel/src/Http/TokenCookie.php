<?php

namespace Askr\Laravel\Http;

use Askr\Exception;
use Askr\Laravel\AskrManager;
use Askr\Laravel\UserId;
use Illuminate\Auth\Events\Logout;
use Illuminate\Container\Container;
use Symfony\Component\HttpFoundation\Cookie;

/**
 * The cookie that a token travels in: one for each path under which the browser reaches askrd, and none for the
 * application.
 */
class TokenCookie
{
    public function __construct(private readonly AskrManager $askr)
    {
    }

    /** @return list<Cookie> */
    public static function of(string $token, int $expires, bool $secure): array
    {
        $config = Container::getInstance()->make('config')->get('askr.token', []);
        return array_map(
            fn (string $path) => new Cookie(
                $config['cookie'] ?? 'askr_token', $token, $expires, $path, $config['domain'] ?? null,
                $config['secure'] ?? $secure, true, false, $config['same_site'] ?? 'lax',
            ),
            $config['paths'] ?? ['/askr', '/app'],
        );
    }

    /** Whoever signs out hears no more: connections end, tokens are refused, the cookie goes. */
    public function revoke(Logout $event): void
    {
        $app = Container::getInstance();
        if ($event->user === null || ! $app->make('config')->get('askr.token.revoke_on_logout', true)) {
            return;
        }
        if ($app->bound('cookie')) {
            $secure = $app->bound('request') && $app->make('request')->isSecure();
            foreach (self::of('', 1, $secure) as $cookie) {
                $app->make('cookie')->queue($cookie);
            }
        }
        try {
            $this->askr->disconnect($event->user);
        } catch (Exception $e) {
            // Signing out must work while askrd is away; that tokens count until they expire is for the log.
            report($e);
        }
    }
}

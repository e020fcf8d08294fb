<?php

namespace Askr\Laravel\Http;

use Askr\Laravel\AskrManager;
use Closure;
use Illuminate\Http\Request;

/**
 * Takes the ring's place before anything of the page's state is read, so that a stream which begins there misses
 * nothing. Tens of nanoseconds; it never keeps a page from being shown.
 */
class TakeCursor
{
    public const ATTRIBUTE = 'askr.cursor';

    public function __construct(private readonly AskrManager $askr)
    {
    }

    public function handle(Request $request, Closure $next): mixed
    {
        try {
            $request->attributes->set(self::ATTRIBUTE, $this->askr->cursor());
        } catch (\Throwable $e) {
            report($e);
        }
        return $next($request);
    }
}

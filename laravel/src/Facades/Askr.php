<?php

namespace Askr\Laravel\Facades;

use Askr\Laravel\AskrManager;
use Askr\Laravel\Testing\AskrFake;
use Illuminate\Support\Facades\Facade;

/**
 * @method static \Askr\Laravel\PendingEvent channel(mixed ...$channels)
 * @method static \Askr\Laravel\PendingEvent private(mixed ...$channels)
 * @method static \Askr\Laravel\PendingEvent presence(mixed ...$channels)
 * @method static \Askr\TextStream stream(mixed $channel, ?string $connection = null)
 * @method static ?string cursor()
 * @method static ?string cursorOf(?\Illuminate\Http\Request $request = null)
 * @method static string meta()
 * @method static list<array{event: ?string, id: ?string, cursor: string, data: string, time: float}> history(mixed $channel, int $limit = 100, ?string $since = null, ?string $before = null)
 * @method static list<array{id: string, info: mixed}> members(mixed $channel)
 * @method static array<string, int> channels(?string $prefix = null)
 * @method static ?int disconnect(mixed $user)
 * @method static string token(array $channels, ?int $ttl = null, mixed $user = null, ?array $info = null, ?array $patterns = null)
 * @method static \Askr\Laravel\Client client(?string $connection = null)
 * @method static void assertBroadcast(string|\Closure $event, \Closure|int|null $callback = null)
 * @method static void assertBroadcastTimes(string $event, int $times = 1)
 * @method static void assertNotBroadcast(string|\Closure $event, ?\Closure $callback = null)
 * @method static void assertBroadcastOn(mixed $channel, string|\Closure|null $event = null, ?\Closure $callback = null)
 * @method static void assertBroadcastToOthers(string|\Closure $event, ?\Closure $callback = null)
 * @method static void assertNothingBroadcast()
 * @method static list<\Askr\Laravel\Testing\Broadcast> broadcasts(string|\Closure|null $event = null, ?\Closure $callback = null)
 *
 * @see AskrManager
 * @see AskrFake
 */
class Askr extends Facade
{
    /** From here on nothing is published: broadcasts of all connections are recorded, to be asserted. */
    public static function fake(): AskrFake
    {
        $fake = AskrFake::install(static::getFacadeApplication());
        static::swap($fake);
        return $fake;
    }

    protected static function getFacadeAccessor(): string
    {
        return AskrManager::class;
    }
}

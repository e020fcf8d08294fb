<?php

namespace Askr\Laravel\Testing;

use Askr\Laravel\AskrManager;
use Askr\Laravel\Client;
use Closure;
use Illuminate\Broadcasting\BroadcastManager;
use Illuminate\Contracts\Broadcasting\Broadcaster;
use Illuminate\Contracts\Broadcasting\Factory;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Support\Facades\Broadcast as BroadcastFacade;
use PHPUnit\Framework\Assert;
use ReflectionFunction;
use ReflectionNamedType;

/**
 * Records what is broadcast, on whatever connection, and publishes nothing: events that implement ShouldBroadcast
 * (queued ones at once), anonymous events, notifications, and what the facade Askr sends. Authorization works as
 * without it.
 */
class AskrFake extends AskrManager
{
    /** The socket id of a test's request that names none, so that toOthers() can be seen. */
    private const SOMEBODY = '0.0';

    /** @var list<Broadcast> */
    private array $broadcasts = [];
    private ?object $source = null;

    public static function install(Application $app): self
    {
        $fake = new self;
        $app->instance(AskrManager::class, $fake);
        $app->instance(BroadcastManager::class, new BroadcastManagerFake($app, $app->make(BroadcastManager::class), $fake));
        $app->forgetInstance(Broadcaster::class);
        BroadcastFacade::clearResolvedInstance(Factory::class);
        return $fake;
    }

    public function client(?string $connection = null): Client
    {
        return new ClientFake($this, $connection ?? $this->defaultConnection());
    }

    public function socket(): ?string
    {
        return parent::socket() ?? self::SOMEBODY;
    }

    /** For the classes beside this one. */
    public function record(
        string $connection,
        array $channels,
        ?string $event,
        string $payload,
        ?string $except,
        ?string $key = null,
        ?string $id = null,
    ): void {
        $this->broadcasts[] = new Broadcast(
            $connection, array_values(array_unique($channels)), $event, json_decode($payload, true) ?? $payload,
            $except !== null, $key, $id, $this->source,
        );
    }

    /** For the classes beside this one: what is recorded meanwhile comes from this event. */
    public function from(object $source, Closure $broadcasts): mixed
    {
        [$before, $this->source] = [$this->source, $source];
        try {
            return $broadcasts();
        } finally {
            $this->source = $before;
        }
    }

    /**
     * What was broadcast so far.
     *
     * @param string|Closure|null $event a name, a class, or a closure whose first parameter has the class of an event
     * @param Closure|null $callback takes a Broadcast, or the event where its parameter has the event's class
     *
     * @return list<Broadcast>
     */
    public function broadcasts(string|Closure|null $event = null, ?Closure $callback = null): array
    {
        [$name, $callback] = $event instanceof Closure ? [null, $event] : [$event, $callback];
        return array_values(array_filter(
            $this->broadcasts,
            fn (Broadcast $one) => ($name === null || $one->is($name)) && ($callback === null || self::passes($callback, $one)),
        ));
    }

    public function assertBroadcast(string|Closure $event, Closure|int|null $callback = null): void
    {
        if (\is_int($callback)) {
            $this->assertBroadcastTimes($event, $callback);
            return;
        }
        Assert::assertNotEmpty($this->broadcasts($event, $callback), self::said($event) . ' was not broadcast. ' . $this->what());
    }

    public function assertBroadcastTimes(string|Closure $event, int $times = 1): void
    {
        $count = \count($this->broadcasts($event));
        Assert::assertSame($times, $count, self::said($event) . " was broadcast $count times instead of $times. " . $this->what());
    }

    public function assertNotBroadcast(string|Closure $event, ?Closure $callback = null): void
    {
        Assert::assertEmpty($this->broadcasts($event, $callback), self::said($event) . ' was broadcast. ' . $this->what());
    }

    /** @param mixed $channel a name, or a channel: new PrivateChannel('orders.7') */
    public function assertBroadcastOn(
        mixed $channel,
        string|Closure|null $event = null,
        ?Closure $callback = null,
    ): void {
        [$channel] = self::names($channel);
        $on = array_filter($this->broadcasts($event, $callback), fn (Broadcast $one) => $one->on($channel));
        Assert::assertNotEmpty($on, self::said($event ?? 'Nothing') . " was broadcast on \"$channel\". " . $this->what());
    }

    public function assertBroadcastToOthers(string|Closure $event, ?Closure $callback = null): void
    {
        $others = array_filter($this->broadcasts($event, $callback), fn (Broadcast $one) => $one->toOthers);
        Assert::assertNotEmpty($others, self::said($event) . ' was not broadcast to others only. ' . $this->what());
    }

    public function assertNothingBroadcast(): void
    {
        Assert::assertEmpty($this->broadcasts, 'Something was broadcast. ' . $this->what());
    }

    private static function passes(Closure $callback, Broadcast $one): bool
    {
        $type = ((new ReflectionFunction($callback))->getParameters()[0] ?? null)?->getType();
        if ($type instanceof ReflectionNamedType && ! $type->isBuiltin() && $type->getName() !== Broadcast::class) {
            return is_a($one->source, $type->getName()) && $callback($one->source, $one);
        }
        return (bool) $callback($one);
    }

    private static function said(string|Closure $event): string
    {
        return $event instanceof Closure ? 'What the closure looks for' : "[$event]";
    }

    private function what(): string
    {
        $all = array_map(fn (Broadcast $one) => ($one->event ?? '(no name)') . ' on ' . implode(', ', $one->channels), $this->broadcasts);
        return 'Broadcast so far: ' . ($all === [] ? 'nothing' : implode('; ', $all)) . '.';
    }
}

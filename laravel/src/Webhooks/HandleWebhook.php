<?php

namespace Askr\Laravel\Webhooks;

use Askr\Laravel\Events;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Contracts\Queue\ShouldQueue;

/** Makes Laravel events of a webhook's, in order. Names that this version does not know are passed over. */
class HandleWebhook implements ShouldQueue
{
    use Queueable;

    /** @param list<array<string, mixed>> $events */
    public function __construct(public string $connectionName, public int $milliseconds, public array $events)
    {
    }

    public function handle(Dispatcher $dispatcher): void
    {
        foreach ($this->events as $event) {
            $made = \is_array($event) ? $this->make($event) : null;
            if ($made !== null) {
                $dispatcher->dispatch($made);
            }
        }
    }

    private function make(array $event): ?Events\ChannelEvent
    {
        $text = fn (string $key) => \is_string($event[$key] ?? null) ? $event[$key] : '';
        $about = [$this->connectionName, $this->milliseconds, $text('channel')];
        $user = $text('user_id');
        $count = $event['subscription_count'] ?? 0;
        return match ($event['name'] ?? null) {
            'channel_occupied' => new Events\ChannelOccupied(...$about),
            'channel_vacated' => new Events\ChannelVacated(...$about),
            'member_added' => new Events\MemberAdded(...$about, user: $user),
            'member_removed' => new Events\MemberRemoved(...$about, user: $user),
            'client_event' => new Events\ClientEvent(
                ...$about, event: $text('event'), data: $event['data'] ?? null,
                socketId: $text('socket_id'), user: $user === '' ? null : $user,
            ),
            'cache_miss' => new Events\CacheMissed(...$about),
            'subscription_count' => new Events\SubscriptionCounted(...$about, count: \is_int($count) ? $count : 0),
            default => null,
        };
    }
}

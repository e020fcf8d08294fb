<?php

namespace Askr\Laravel\Tests;

use Askr\Laravel\Events;
use Askr\Laravel\Webhooks\HandleWebhook;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Queue;
use Symfony\Component\HttpFoundation\Response;

class WebhookTest extends TestCase
{
    private const EVENTS = [
        ['name' => 'channel_occupied', 'channel' => 'a'],
        ['name' => 'channel_vacated', 'channel' => 'a'],
        ['name' => 'member_added', 'channel' => 'presence-a', 'user_id' => '7'],
        ['name' => 'member_removed', 'channel' => 'presence-a', 'user_id' => '7'],
        ['name' => 'client_event', 'channel' => 'private-a', 'event' => 'client-typing', 'data' => '{"x":1}', 'socket_id' => '1.2'],
        ['name' => 'client_event', 'channel' => 'presence-a', 'event' => 'client-typing', 'data' => '{}', 'socket_id' => '1.2', 'user_id' => '8'],
        ['name' => 'cache_miss', 'channel' => 'cache-a'],
        ['name' => 'subscription_count', 'channel' => 'a', 'subscription_count' => 3],
        ['name' => 'of_a_later_version', 'channel' => 'a'],
        'no event',
    ];

    private function post(string $body, ?string $key = 'shop-key', ?string $secret = null): Response
    {
        return $this->request('POST', '/broadcasting/askr/webhook', ['raw' => $body], array_filter([
            'X-Pusher-Key' => $key, 'X-Pusher-Signature' => hash_hmac('sha256', $body, $secret ?? getenv('ASKR_APP_SECRET')),
        ], fn ($value) => $value !== null));
    }

    private static function hook(): string
    {
        return json_encode(['time_ms' => 1764000000123, 'events' => self::EVENTS]);
    }

    /** @return list<object> */
    private function told(\Closure $while): array
    {
        $heard = [];
        Event::listen('Askr\Laravel\Events\*', function (string $name, array $events) use (&$heard) {
            $heard[] = $events[0];
        });
        $while();
        return $heard;
    }

    public function test_each_event_becomes_one_of_laravel_in_order(): void
    {
        $heard = $this->told(fn () => $this->assertSame(204, $this->post(self::hook())->getStatusCode()));
        $this->assertEquals([
            new Events\ChannelOccupied('askr', 1764000000123, 'a'),
            new Events\ChannelVacated('askr', 1764000000123, 'a'),
            new Events\MemberAdded('askr', 1764000000123, 'presence-a', '7'),
            new Events\MemberRemoved('askr', 1764000000123, 'presence-a', '7'),
            new Events\ClientEvent('askr', 1764000000123, 'private-a', 'client-typing', '{"x":1}', '1.2', null),
            new Events\ClientEvent('askr', 1764000000123, 'presence-a', 'client-typing', '{}', '1.2', '8'),
            new Events\CacheMissed('askr', 1764000000123, 'cache-a'),
            new Events\SubscriptionCounted('askr', 1764000000123, 'a', 3),
        ], $heard);
    }

    public function test_what_is_not_signed_by_an_applications_secret_does_nothing(): void
    {
        $heard = $this->told(function () {
            $this->assertSame(401, $this->post(self::hook(), secret: 'another secret')->getStatusCode());
            $this->assertSame(401, $this->post(self::hook(), 'another-key')->getStatusCode());
            $this->assertSame(401, $this->post(self::hook(), null)->getStatusCode());
            $this->assertSame(401, $this->request('POST', '/broadcasting/askr/webhook')->getStatusCode());
        });
        $this->assertSame([], $heard);
    }

    public function test_an_application_without_a_secret_is_nobodys(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'secret' => '']]);
        $this->assertSame(401, $this->post(self::hook(), secret: '')->getStatusCode());
    }

    public function test_of_several_applications_the_one_that_signed_is_named(): void
    {
        $this->configured(['broadcasting.connections.blog' => ['driver' => 'askr', 'id' => 'blog', 'key' => 'blog-key', 'secret' => 'blog-secret']]);
        $heard = $this->told(fn () => $this->post(self::hook(), 'blog-key', 'blog-secret'));
        $this->assertSame('blog', $heard[0]->connection);
        $this->assertSame(401, $this->post(self::hook(), 'blog-key')->getStatusCode(), 'the key of one and the secret of another');
    }

    public function test_what_is_no_webhook_is_refused(): void
    {
        foreach (['', '[]', '{"events":7}', 'null', str_repeat('[', 100)] as $body) {
            $this->assertSame(400, $this->post($body)->getStatusCode(), $body);
        }
    }

    public function test_listeners_run_in_a_worker_if_that_is_wanted(): void
    {
        foreach ([['live', 'live'], [true, null]] as [$setting, $queue]) {
            $this->configured(['askr.webhook.queue' => $setting]);
            Queue::fake();
            $this->assertSame([], $this->told(fn () => $this->assertSame(204, $this->post(self::hook())->getStatusCode())));
            Queue::assertPushed(HandleWebhook::class, fn (HandleWebhook $job) => $job->queue === $queue && $job->events === self::EVENTS);
        }
    }

    public function test_a_listener_that_throws_makes_askrd_send_the_batch_again(): void
    {
        Event::listen(Events\ChannelOccupied::class, fn () => throw new \RuntimeException('the database is away'));
        $this->assertSame(500, $this->post(self::hook())->getStatusCode());
    }
}

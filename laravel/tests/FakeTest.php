<?php

namespace Askr\Laravel\Tests;

use App\Events\OrderPaid;
use App\Events\OrderShipped;
use Askr\Laravel\Facades\Askr;
use Askr\Laravel\Testing\Broadcast as Recorded;
use Illuminate\Broadcasting\AnonymousEvent;
use Illuminate\Broadcasting\PrivateChannel;
use Illuminate\Notifications\Events\BroadcastNotificationCreated;
use Illuminate\Notifications\Notification;
use Illuminate\Support\Facades\Broadcast;
use PHPUnit\Framework\AssertionFailedError;

class FakeTest extends TestCase
{
    /** The assertion fails, and says why. */
    private function fails(string $message, \Closure $assertion): void
    {
        try {
            $assertion();
        } catch (AssertionFailedError $e) {
            $this->assertStringContainsString($message, $e->getMessage());
            return;
        }
        $this->fail('the assertion passed');
    }

    public function test_nothing_reaches_askrd(): void
    {
        Askr::fake();
        broadcast(new OrderPaid($order = random_int(1_000_000, 9_999_999)));
        Askr::private("orders.$order")->event('shipped')->send();
        $this->configured([]);
        $this->assertSame([], Askr::history("private-orders.$order"));
    }

    public function test_events_of_the_framework_are_recorded_whatever_the_connection_and_the_queue(): void
    {
        foreach (['askr', 'null', 'log', 'pusher', 'no such connection'] as $connection) {
            $this->configured(['broadcasting.default' => $connection === 'no such connection' ? 'null' : $connection, 'queue.default' => 'database']);
            Askr::fake();
            config(['broadcasting.default' => $connection]);
            broadcast(new OrderPaid(7, ['a' => 1]));
            broadcast(new OrderShipped(8));
            Askr::assertBroadcast(OrderPaid::class);
            Askr::assertBroadcast(OrderPaid::class, fn (Recorded $one) => $one->data === ['order' => 7, 'more' => ['a' => 1]] && $one->connection === $connection);
            Askr::assertBroadcast(fn (OrderPaid $event) => $event->order === 7);
            Askr::assertBroadcast('order.shipped', fn (OrderShipped $event, Recorded $one) => $event->order === 8 && $one->data['state'] === 'shipped');
            Askr::assertBroadcast(OrderShipped::class, 1);
            Askr::assertBroadcastOn('private-orders.8', OrderShipped::class);
            Askr::assertBroadcastOn(new PrivateChannel('orders.7'));
            Askr::assertNotBroadcast(OrderPaid::class, fn (OrderPaid $event) => $event->order === 8);
            Askr::assertNotBroadcast('order.cancelled');
        }
    }

    public function test_what_the_facade_sends_is_recorded(): void
    {
        Askr::fake();
        $this->assertTrue(Askr::channel('orders.7')->event('shipped')->data(['id' => 7])->key('k')->send());
        Askr::assertBroadcast('shipped', fn (Recorded $one) => $one->data === ['id' => 7] && $one->key === 'k' && $one->source === null);
        Askr::assertBroadcastOn('orders.7', 'shipped', fn (Recorded $one) => $one->data['id'] === 7);
        Askr::stream('answers.7')->from(['a', 'b']);
        Askr::assertBroadcast('text.end');
        $this->assertCount(1, Askr::broadcasts('shipped'));
        $this->assertSame([], Askr::history('orders.7'));
        $this->assertSame([], Askr::members('team'));
    }

    public function test_to_others_is_seen_also_where_the_request_has_no_socket(): void
    {
        Askr::fake();
        broadcast(new OrderPaid(7))->toOthers();
        Askr::channel('a')->event('others')->toOthers()->send();
        broadcast(new OrderShipped(8));
        Askr::channel('a')->event('everybody')->send();
        Askr::channel('a')->event('nonsense')->except('nonsense')->send();
        Askr::assertBroadcastToOthers(OrderPaid::class);
        Askr::assertBroadcastToOthers('others');
        foreach ([OrderShipped::class, 'everybody', 'nonsense'] as $event) {
            $this->fails("[$event] was not broadcast to others only", fn () => Askr::assertBroadcastToOthers($event));
        }
        Askr::fake();
        $this->request('POST', '/orders/7/paid', headers: ['X-Socket-ID' => '12.34']);
        Askr::assertBroadcastToOthers(OrderPaid::class);
    }

    public function test_nothing_is_nothing(): void
    {
        Askr::fake();
        Askr::assertNothingBroadcast();
        Askr::channel('a')->event('x')->send();
        $this->fails('Broadcast so far: x on a.', fn () => Askr::assertNothingBroadcast());
    }

    public function test_each_assertion_can_fail_and_says_what_there_was(): void
    {
        Askr::fake();
        broadcast(new OrderPaid(7));
        $so = 'Broadcast so far: App\Events\OrderPaid on orders, private-orders.7.';
        $this->fails("[order.shipped] was not broadcast. $so", fn () => Askr::assertBroadcast('order.shipped'));
        $this->fails($so, fn () => Askr::assertBroadcast(OrderPaid::class, fn (OrderPaid $event) => $event->order === 8));
        $this->fails($so, fn () => Askr::assertBroadcast(fn (OrderShipped $event) => true));
        $this->fails('was broadcast 1 times instead of 2', fn () => Askr::assertBroadcast(OrderPaid::class, 2));
        $this->fails('was broadcast on "private-orders.8"', fn () => Askr::assertBroadcastOn('private-orders.8', OrderPaid::class));
        $this->fails('was broadcast on "orders.7"', fn () => Askr::assertBroadcastOn('orders.7'));
        $this->fails('[App\Events\OrderPaid] was broadcast.', fn () => Askr::assertNotBroadcast(OrderPaid::class));
    }

    public function test_anonymous_events_are_recorded(): void
    {
        if (! class_exists(AnonymousEvent::class)) {
            $this->assertFalse(method_exists(\Illuminate\Broadcasting\BroadcastManager::class, 'on'), 'this Laravel has none');
            return;
        }
        Askr::fake();
        Broadcast::private('orders.7')->as('placed')->with(['id' => 7])->toOthers()->send();
        Askr::assertBroadcastOn('private-orders.7', 'placed', fn (Recorded $one) => $one->data === ['id' => 7]);
        Askr::assertBroadcastToOthers('placed');
        Askr::assertBroadcast(AnonymousEvent::class);
    }

    public function test_notifications_are_recorded(): void
    {
        Askr::fake();
        $somebody = new class {
            use \Illuminate\Notifications\RoutesNotifications;

            public function receivesBroadcastNotificationsOn(): string
            {
                return 'users.7';
            }
        };
        $somebody->notify(new class extends Notification {
            public function via(): array
            {
                return ['broadcast'];
            }

            public function toArray(): array
            {
                return ['invoice' => 7];
            }
        });
        Askr::assertBroadcastOn('private-users.7', BroadcastNotificationCreated::class, fn (Recorded $one) => $one->data['invoice'] === 7);
    }

    public function test_authorization_works_as_without_it(): void
    {
        Askr::fake();
        $auth = fn (string $channel) => $this->request('POST', '/broadcasting/auth', ['socket_id' => '1.2', 'channel_name' => $channel], user: '7')->getStatusCode();
        $this->assertSame([200, 403], [$auth('private-orders.7'), $auth('private-orders.18')]);
        $token = $this->request('POST', '/broadcasting/askr/token', ['channels' => ['private-orders.7']], user: '7');
        $this->assertSame(['private-orders.7' => true], $this->json($token)['channels']);
        Broadcast::channel('later', fn () => true);
        $this->assertSame(200, $auth('private-later'));
    }
}

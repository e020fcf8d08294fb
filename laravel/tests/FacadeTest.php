<?php

namespace Askr\Laravel\Tests;

use App\Events\OrderPaid;
use App\Events\Status;
use Askr\Exception;
use Askr\Laravel\Client;
use Askr\Laravel\Facades\Askr;
use Askr\Laravel\Http\TakeCursor;
use Askr\Laravel\Testing\TransportFake;
use Illuminate\Broadcasting\PrivateChannel;
use Illuminate\Contracts\Broadcasting\HasBroadcastChannel;
use Illuminate\Contracts\Http\Kernel;
use Illuminate\Http\Request;
use Illuminate\Support\Collection;
use Illuminate\Support\Facades\Blade;
use Illuminate\Support\Facades\Broadcast;

class FacadeTest extends TestCase
{
    public function test_an_event_is_described_and_sent(): void
    {
        $channel = $this->newName();
        $this->assertTrue(Askr::channel($channel)->event('shipped')->data(new Collection(['id' => 7]))->send());
        Askr::channel([$channel, new PrivateChannel($private = $this->newName())])->event(Status::Paid)->data(['id' => 8])->send();
        Askr::private($channel)->data(1)->send();
        Askr::presence($channel)->event('x')->raw('"as it is"')->send();
        $this->assertSame([['shipped', ['id' => 7]], ['order.paid', ['id' => 8]]], $this->heard($channel));
        $this->assertSame([['order.paid', ['id' => 8]]], $this->heard("private-$private"));
        $this->assertSame(1, $this->heard("private-$channel")[0][1]);
        $this->assertSame([['x', 'as it is']], $this->heard("presence-$channel"));
    }

    public function test_a_model_is_its_channel_and_a_collection_those_that_are_in_it(): void
    {
        // As Eloquent's models: text by __toString(), too.
        $order = new class ($this->newName()) implements HasBroadcastChannel {
            public function __construct(private readonly string $name)
            {
            }

            public function broadcastChannelRoute()
            {
                return 'order.{order}';
            }

            public function broadcastChannel()
            {
                return $this->name;
            }

            public function __toString()
            {
                return '{"secret":"of the model"}';
            }
        };
        $channels = [$this->newName(), $this->newName()];
        Askr::channel($order, new Collection([$channels[0], [new PrivateChannel($channels[1])]]))->event('n')->data(1)->send();
        Askr::private($order)->event('n')->data(2)->send();
        foreach ([$order->broadcastChannel() => 1, "private-{$order->broadcastChannel()}" => 2, $channels[0] => 1, "private-$channels[1]" => 1] as $channel => $n) {
            $this->assertSame([['n', $n]], $this->heard($channel), $channel);
        }
        $this->assertCount(1, Askr::history($order));
    }

    public function test_why_a_text_ended_is_told_also_if_the_page_cannot_be_told(): void
    {
        $away = new class extends TransportFake {
            public function publish(
                array $channels,
                string $payload,
                ?string $event = null,
                ?string $id = null,
                ?int $retry = null,
                ?string $except = null,
                ?string $key = null,
            ): bool {
                return $event === 'text.start' ? true : throw new Exception('away');
            }
        };
        $text = (function () {
            yield from [];
            throw new \LogicException('the model is away');
        })();
        $this->expectException(\LogicException::class);
        $this->expectExceptionMessage('the model is away');
        (new Client($away))->stream('answers')->from($text);
    }

    public function test_of_events_with_one_key_the_first_is_heard(): void
    {
        $key = $this->newName('key-');
        foreach ([1, 2] as $n) {
            Askr::channel($channel = "key-of-$key")->event('paid')->data($n)->key($key)->send();
        }
        $this->assertSame([['paid', 1]], $this->heard($channel));
    }

    public function test_the_functions_publish_where_the_application_does_with_the_extension_or_without(): void
    {
        $this->assertTrue(askr_broadcast($channel = $this->newName(), '{"n":1}', event: 'n'));
        $this->assertSame([['n', ['n' => 1]]], $this->heard($channel));
    }

    public function test_the_parts_of_an_event_on_many_channels_do_not_take_one_another_for_repeated(): void
    {
        $channels = array_map(fn () => $this->newName(), range(1, 101));
        foreach ([1, 2] as $try) {
            Askr::channel($channels)->event('paid')->data($try)->key($channels[0])->send();
        }
        foreach ([0, 100] as $n) {
            $this->assertSame([['paid', 1]], $this->heard($channels[$n]));
        }
    }

    public function test_an_event_on_many_channels_of_which_one_is_wrong_is_on_none(): void
    {
        $channels = array_map(fn () => $this->newName(), range(1, 150));
        foreach ([[...$channels, 'askr:wrong'], [$channels[0], 'private-encrypted-' . str_repeat('x', 200)]] as $wrong) {
            try {
                Askr::channel($wrong)->event('paid')->data(1)->send();
                $this->fail('it was published');
            } catch (\ValueError $e) {
                $this->assertStringContainsString('a channel must', $e->getMessage());
            }
        }
        $this->assertSame([], $this->heard($channels[0]));
    }

    public function test_a_key_of_any_length_does_for_many_channels(): void
    {
        $channels = array_map(fn () => $this->newName(), range(1, 101));
        foreach ([1, 2] as $try) {
            Askr::channel($channels)->event('paid')->data($try)->key(str_pad($channels[0], 200, 'k'))->send();
        }
        $this->assertSame([['paid', 1]], $this->heard($channels[0]));
        $this->assertSame([['paid', 1]], $this->heard($channels[100]));
    }

    public function test_a_channel_may_have_a_number_for_its_name(): void
    {
        $name = (string) random_int(1_000_000_000, 9_000_000_000);
        Askr::channel($name, 'x')->event('paid')->data(1)->send();
        $this->assertSame([['paid', 1]], $this->heard($name));
    }

    public function test_members_and_channels_of_nobody_are_none(): void
    {
        $this->assertSame([], Askr::members($this->newName()));
        $this->assertSame([], Askr::channels('nobody-is-here-'));
    }

    public function test_history_goes_on_page_by_page(): void
    {
        $channel = $this->newName();
        foreach (range(1, 5) as $n) {
            Askr::channel($channel)->event('n')->data($n)->send();
        }
        $this->assertSame([4, 5], array_map(fn ($one) => (int) $one['data'], Askr::history($channel, 2)));
        $page = Askr::history($channel, 3, since: Askr::history($channel, 5)[0]['cursor']);
        $this->assertSame(['2', '3', '4'], array_column($page, 'data'));
    }

    /** @group extension */
    public function test_the_cursor_is_taken_before_anything_of_the_page_is_read_and_printed_where_it_is_known(): void
    {
        $order = [];
        $this->app->make(Kernel::class);
        $this->assertSame(TakeCursor::class, $this->app['router']->getMiddlewareGroups()['web'][0], 'before sessions and bindings read');
        $this->app['router']->get('/state', function () use (&$order) {
            $order[] = Askr::cursorOf();
            Askr::channel('state')->event('n')->data(1)->send();
            return view('page');
        })->middleware('web');
        $page = $this->request('GET', '/state')->getContent();
        $this->assertMatchesRegularExpression('/\A[0-9a-f]{12}-\d+\z/', $order[0]);
        $this->assertStringContainsString("<meta name=\"askr-cursor\" content=\"$order[0]\">", $page);
        $this->assertSame('1', Askr::history('state', since: $order[0])[0]['data'], 'what came after it is not missed');
    }

    public function test_where_no_place_is_known_nothing_is_printed(): void
    {
        $this->assertSame('', Askr::meta());
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'transport' => 'http']]);
        $page = $this->request('GET', '/page');
        $this->assertSame(200, $page->getStatusCode());
        $this->assertStringNotContainsString('askr-cursor', $page->getContent());
    }

    public function test_a_worker_that_serves_many_requests_mixes_nothing_of_them(): void
    {
        $kernel = $this->app->make(Kernel::class);
        $seen = [];
        $this->app['router']->get('/who', function (Request $request) use (&$seen) {
            $seen[] = [Askr::cursorOf(), Askr::socket(), $request->user()?->getAuthIdentifier()];
            return '';
        })->middleware('web');
        $this->request('GET', '/who', headers: ['X-Socket-ID' => '1.2'], user: 'ada');
        Askr::channel('between')->send();
        $this->request('GET', '/who', user: 'bob');
        $this->request('GET', '/who');
        $this->assertSame([['1.2', 'ada'], [null, 'bob'], [null, null]], array_map(fn ($one) => [$one[1], $one[2]], $seen));
        if (\Askr\Extension::loaded()) {
            $this->assertNotSame($seen[0][0], $seen[1][0]);
            $this->assertSame($seen[1][0], $seen[2][0]);
        }
        $this->assertNull(Askr::cursorOf(Request::create('/')), 'another request has none');
    }

    public function test_strict_a_name_that_is_not_registered_is_an_error_that_names_the_nearest(): void
    {
        $this->configured(['askr.strict' => true, 'askr.events' => [Status::class, 'note']]);
        $channel = $this->newName();
        Askr::channel($channel)->event(Status::Shipped)->data(1)->send();
        Askr::channel($channel)->event('note')->data(2)->send();
        Broadcast::connection()->broadcast([$channel], 'order.paid', ['n' => 3]);
        broadcast(new OrderPaid(7));
        foreach ([
            'did you mean "order.shipped"?' => fn () => Askr::channel($channel)->event('order.shiped'),
            'registered in askr.events' => fn () => Broadcast::connection()->broadcast([$channel], 'other', []),
            'must have a registered name' => fn () => Askr::channel($channel)->data(1)->send(),
        ] as $message => $mistake) {
            try {
                $mistake();
                $this->fail("no error: $message");
            } catch (\ValueError $e) {
                $this->assertStringContainsString($message, $e->getMessage());
            }
        }
        $this->assertSame(['order.shipped', 'note', 'order.paid'], array_column($this->heard($channel), 0));
    }

    public function test_a_text_is_streamed_while_it_is_made(): void
    {
        $channel = $this->newName();
        $text = Askr::stream($channel)->every(0)->from((function () {
            yield 'Once ';
            yield "upon \u{1F69A}";
            yield '';
            yield ' a time';
        })());
        $this->assertSame("Once upon \u{1F69A} a time", $text);
        $heard = $this->heard($channel);
        $this->assertSame(['text.start', 'text.part', 'text.part', 'text.part', 'text.end'], array_column($heard, 0));
        $this->assertSame([1, 2, 3], array_column(array_column($heard, 1), 'part'));
        $this->assertSame($text, implode('', array_column(array_column($heard, 1), 'text')));
        $this->assertSame(3, $heard[4][1]['parts']);
        $this->assertCount(1, array_unique(array_column(array_column($heard, 1), 'stream')));
    }

    public function test_parts_that_come_quickly_go_together_and_none_is_lost(): void
    {
        $channel = $this->newName();
        $stream = Askr::stream($channel)->as('answer')->every(3600);
        foreach (str_split($whole = str_repeat('Grüße ', 3000), 7) as $part) {
            $stream->write($part);
        }
        $stream->end();
        $stream->end();
        $heard = $this->heard($channel);
        $this->assertLessThan(12, \count($heard));
        $this->assertSame(['answer.start', 'answer.part'], array_slice(array_column($heard, 0), 0, 2));
        $this->assertSame($whole, implode('', array_column(array_column($heard, 1), 'text')));
        $this->expectExceptionMessage('the stream has ended');
        $stream->write('more');
    }

    public function test_a_text_that_fails_says_so_and_keeps_its_reason_from_the_page(): void
    {
        $channel = $this->newName();
        try {
            Askr::stream($channel)->from((function () {
                yield 'Half';
                throw new \LogicException('password: hunter2');
            })());
            $this->fail('no exception');
        } catch (\LogicException $e) {
            $this->assertSame('password: hunter2', $e->getMessage());
        }
        $heard = $this->heard($channel);
        $this->assertSame(['text.start', 'text.part', 'text.failed'], array_column($heard, 0));
        $this->assertStringNotContainsString('hunter2', json_encode($heard));
    }
}

<?php

namespace Askr\Laravel\Tests;

use App\Events\OrderPaid;
use App\Events\OrderShipped;
use Askr\Extension;
use Askr\HttpApi;
use Askr\Laravel\Broadcasting\AskrBroadcaster;
use Askr\Laravel\Facades\Askr;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Broadcasting\Channel;
use Illuminate\Broadcasting\EncryptedPrivateChannel;
use Illuminate\Support\Facades\Broadcast;
use Illuminate\Support\Facades\Log;
use InvalidArgumentException;

class DriverTest extends TestCase
{
    public function test_nothing_has_to_be_in_broadcasting_php(): void
    {
        $this->assertArrayNotHasKey('askr', (require $this->app->configPath('broadcasting.php'))['connections']);
        $this->assertInstanceOf(AskrBroadcaster::class, Broadcast::connection());
    }

    public function test_what_is_in_broadcasting_php_wins(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'id' => 'mine']]);
        $this->assertSame('mine', config('broadcasting.connections.askr.id'));
        $this->assertSame('shop-key', config('broadcasting.connections.askr.key'));
    }

    public function test_it_publishes_by_the_extension_where_it_is_and_over_http_otherwise(): void
    {
        $this->assertInstanceOf(Extension::loaded() ? Extension::class : HttpApi::class, Askr::client()->transport);
        Broadcast::connection()->broadcast([$channel = $this->newName()], 'greeting', ['text' => 'Grüße / <b>']);
        $this->assertSame([['greeting', ['text' => 'Grüße / <b>']]], $this->heard($channel));
    }

    public function test_an_event_class_is_broadcast_under_its_name_with_its_public_properties(): void
    {
        broadcast(new OrderPaid($order = random_int(1_000_000, 9_999_999), ['a' => [1, null]]));
        $this->assertSame([['App\Events\OrderPaid', ['order' => $order, 'more' => ['a' => [1, null]]]]], $this->heard("private-orders.$order"));
    }

    public function test_more_channels_than_an_event_may_have_become_several_events(): void
    {
        $channels = array_map(fn () => new Channel($this->newName()), range(1, 250));
        Broadcast::connection()->broadcast($channels, 'many', ['n' => 1]);
        foreach ([0, 99, 100, 199, 200, 249] as $n) {
            $this->assertSame([['many', ['n' => 1]]], $this->heard((string) $channels[$n]), "channel $n");
        }
    }

    public function test_a_broadcast_without_a_channel_is_none(): void
    {
        Broadcast::connection()->broadcast([], 'nobody', []);
        $this->addToAssertionCount(1);
    }

    /** @dataProvider whatAPageMaySend */
    public function test_whatever_a_page_sends_as_its_socket_id_is_no_error(mixed $socket): void
    {
        Broadcast::connection()->broadcast([$channel = $this->newName()], 'order', ['n' => 1, 'socket' => $socket]);
        $this->assertSame([['order', ['n' => 1]]], $this->heard($channel));
        $header = \is_string($socket) ? $socket : '';
        $this->assertSame(200, $this->request('POST', '/orders/7/paid', [], ['X-Socket-ID' => $header])->getStatusCode());
        $this->assertSame(200, $this->request('POST', '/orders/7/facade', [], ['X-Socket-ID' => $header])->getStatusCode());
        $auth = $this->request('POST', '/broadcasting/auth', ['socket_id' => $socket, 'channel_name' => 'private-orders.7'], user: 'ada');
        $this->assertContains($auth->getStatusCode(), [200, 403]);
    }

    public static function whatAPageMaySend(): array
    {
        $odd = [null, '', '1', '1.', '1.2.3', ' 1.2', "1.2\n", '01.2', 'undefined', str_repeat('9', 300), "\xff\xfe", '4294967296.1', ['1.2'], 7, '1.2'];
        return array_map(fn ($value) => [$value], $odd);
    }

    public function test_encrypted_channels_are_sealed_each_with_its_own_key(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'encryption_key' => base64_encode($master = random_bytes(32))]]);
        $channels = [new EncryptedPrivateChannel($this->newName()), new EncryptedPrivateChannel($this->newName()), new Channel($plain = $this->newName())];
        Broadcast::connection()->broadcast($channels, 'secret', ['pin' => 1234]);
        $this->assertSame([['secret', ['pin' => 1234]]], $this->heard($plain));
        foreach ([0, 1] as $n) {
            [[$event, $sealed]] = $this->heard((string) $channels[$n]);
            $this->assertSame('secret', $event);
            $key = hash('sha256', $channels[$n] . $master, true);
            $this->assertSame('{"pin":1234}', sodium_crypto_secretbox_open(base64_decode($sealed['ciphertext']), base64_decode($sealed['nonce']), $key));
        }
    }

    public function test_an_encrypted_channel_without_a_key_is_an_error_and_never_plain(): void
    {
        $this->expectException(BroadcastException::class);
        $this->expectExceptionMessage('encryption key');
        Broadcast::connection()->broadcast([new EncryptedPrivateChannel('x')], 'secret', []);
    }

    public function test_what_is_not_published_is_a_broadcast_exception(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'transport' => 'http', 'url' => 'http://127.0.0.1:1']]);
        $this->expectException(BroadcastException::class);
        $this->expectExceptionMessage('http://127.0.0.1:1');
        Broadcast::connection()->broadcast(['orders'], 'order', []);
    }

    public function test_it_is_a_broadcast_exception_when_askrd_refuses_too(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'transport' => 'http', 'secret' => 'a secret that askrd does not have']]);
        try {
            Broadcast::connection()->broadcast(['orders'], 'order', []);
            $this->fail('it was published');
        } catch (BroadcastException $e) {
            $this->assertStringContainsString('401', $e->getMessage());
            $this->assertStringNotContainsString('a secret that askrd', $e->getMessage() . print_r($e->getPrevious()->getTrace(), true));
        }
    }

    public function test_or_one_line_in_the_log_for_each_outage_by_a_setting(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'transport' => 'http', 'url' => 'http://127.0.0.1:1', 'on_failure' => 'silent']]);
        Log::swap($log = new class {
            public array $lines = [];

            public function __call($level, $parameters)
            {
                $this->lines[] = "$level: $parameters[0]";
            }
        });
        foreach ([1, 2, 3] as $n) {
            Broadcast::connection()->broadcast(['orders'], 'order', ['n' => $n]);
        }
        $this->assertFalse(Askr::channel('orders')->send());
        $this->assertCount(2, $log->lines, 'the driver and the facade have a client each');
        $this->assertStringStartsWith('warning: Askr: askrd does not answer at http://127.0.0.1:1', $log->lines[0]);
    }

    public function test_a_mistake_is_an_error_whatever_the_setting(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'on_failure' => 'silent']]);
        $this->expectException(\ValueError::class);
        Broadcast::connection()->broadcast([str_repeat('x', 201)], 'order', []);
    }

    public function test_several_applications_never_share_a_ring_by_accident(): void
    {
        $other = ['driver' => 'askr', 'name' => 'blog', 'id' => 'blog', 'key' => 'b', 'secret' => 's', 'url' => 'http://127.0.0.1:1'];
        $this->configured(['broadcasting.connections.blog' => $other, 'broadcasting.connections.same' => ['ring' => ini_get('askr.ring') ?: '/x', 'name' => 'same'] + $other]);
        $this->assertInstanceOf(HttpApi::class, Askr::client('blog')->transport, 'php.ini has one ring, and it is of "askr"');
        $this->assertInstanceOf(Extension::loaded() ? Extension::class : HttpApi::class, Askr::client('same')->transport, 'it names the ring');
        $this->expectException(BroadcastException::class);
        Broadcast::connection('blog')->broadcast(['orders'], 'order', []);
    }

    /** @dataProvider wrongSettings */
    public function test_a_wrong_setting_names_itself_and_what_is_allowed(array $setting, string $message): void
    {
        // routes/channels.php makes the connection, so it shows at once and not with the first event.
        $this->expectExceptionMessage($message);
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr'] + $setting]);
    }

    public static function wrongSettings(): array
    {
        return [
            [['transport' => 'carrier pigeon'], 'broadcasting.connections.askr.transport must be "auto", "extension" or "http", "carrier pigeon" is not'],
            [['on_failure' => 'panic'], 'broadcasting.connections.askr.on_failure must be "exception" or "silent"'],
            [['encryption_key' => 'c2hvcnQ='], 'broadcasting.connections.askr.encryption_key must be 32 bytes in base64'],
            [['transport' => 'http', 'url' => 'ftp://example.com'], 'must be like http://127.0.0.1:8080'],
            [['transport' => 'http', 'timeout' => 0], 'the timeout must be greater than 0'],
        ];
    }

    public function test_that_events_go_over_http_is_logged_once_and_not_once_a_request(): void
    {
        @unlink($this->app->storagePath() . '/framework/askr-over-http');
        $lines = fn () => substr_count((string) @file_get_contents($this->app->storagePath() . '/logs/laravel.log'), 'events go over HTTP');
        $before = $lines();
        foreach ([1, 2] as $request) {
            $this->configured([]);
            Broadcast::connection();
        }
        $this->assertSame(Extension::loaded() ? 0 : 1, $lines() - $before);
    }

    public function test_channels_are_authorized_as_pushers_driver_does(): void
    {
        config(['broadcasting.default' => 'pusher']);
        Broadcast::connection();
        require base_path('routes/channels.php');
        $ask = fn (string $driver, string $channel) => (function () use ($driver, $channel) {
            config(['broadcasting.default' => $driver]);
            $answer = $this->request('POST', '/broadcasting/auth', ['socket_id' => '12.34', 'channel_name' => $channel], user: '7');
            return [$answer->getStatusCode(), $answer->getStatusCode() === 200 ? $answer->getContent() : ''];
        })();
        foreach (['private-orders.7' => 200, 'private-orders.18' => 403, 'presence-team' => 200, 'private-unknown' => 403, '' => 403] as $channel => $status) {
            $askr = $ask('askr', (string) $channel);
            $this->assertSame($status, $askr[0], (string) $channel);
            $this->assertSame($ask('pusher', (string) $channel), $askr, (string) $channel);
        }
        config(['broadcasting.default' => 'askr']);
        $this->assertSame(403, $this->request('POST', '/broadcasting/auth', ['socket_id' => '1.2', 'channel_name' => 'private-orders.7'])->getStatusCode());
        $this->assertSame(403, $this->request('POST', '/broadcasting/auth', ['socket_id' => '1.2', 'channel_name' => ['private-orders.7']], user: '7')->getStatusCode());
    }

    public function test_a_user_signs_in_as_with_pushers_driver_where_laravel_has_that(): void
    {
        if (! method_exists(\Illuminate\Broadcasting\BroadcastManager::class, 'userRoutes')) {
            $this->assertSame(404, $this->request('POST', '/broadcasting/user-auth', ['socket_id' => '12.34'], user: '7')->getStatusCode());
            return;
        }
        $answers = [];
        foreach (['askr', 'pusher'] as $driver) {
            config(['broadcasting.default' => $driver]);
            Broadcast::connection()->resolveAuthenticatedUserUsing(fn ($request) => ['id' => (string) $request->user()->getAuthIdentifier(), 'user_info' => ['name' => 'Ü/7']]);
            $answers[$driver] = $this->request('POST', '/broadcasting/user-auth', ['socket_id' => '12.34'], user: '7')->getContent();
        }
        $this->assertStringContainsString('"user_data"', $answers['askr']);
        $this->assertSame($answers['pusher'], $answers['askr']);
        config(['broadcasting.default' => 'askr']);
        $this->assertSame(403, $this->request('POST', '/broadcasting/user-auth', ['socket_id' => 'nonsense'], user: '7')->getStatusCode());
    }

    public function test_an_encrypted_channel_is_authorized_with_its_key(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'encryption_key' => base64_encode($master = random_bytes(32))]]);
        $channel = 'private-encrypted-encrypted.7';
        $answer = $this->json($this->request('POST', '/broadcasting/auth', ['socket_id' => '1.2', 'channel_name' => $channel], user: '7'));
        $this->assertSame(base64_encode(hash('sha256', $channel . $master, true)), $answer['shared_secret']);
        $this->assertSame('shop-key:' . hash_hmac('sha256', "1.2:$channel", getenv('ASKR_APP_SECRET')), $answer['auth']);
    }

    public function test_without_a_secret_nothing_is_signed(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'secret' => '']]);
        $answer = $this->request('POST', '/broadcasting/auth', ['socket_id' => '1.2', 'channel_name' => 'private-orders.7'], user: '7');
        $this->assertSame(500, $answer->getStatusCode());
    }

    public function test_a_queued_event_is_broadcast_by_its_job(): void
    {
        broadcast(new OrderShipped($order = random_int(1_000_000, 9_999_999)));
        $this->assertSame([['order.shipped', ['order' => $order, 'state' => 'shipped', 'text' => "Grüße / \u{1F69A}"]]], $this->heard("private-orders.$order"));
    }
}

<?php

namespace Askr\Tests;

use Askr\Client;
use Askr\Credentials;
use Askr\Exception;
use Askr\Extension;
use Askr\Fallback;
use Askr\HttpApi;
use Askr\HttpClient;
use Askr\Rule;
use PHPUnit\Framework\TestCase;

/** Plain PHP, without Laravel, beside a real askrd (laravel/tests/run). */
class ClientTest extends TestCase
{
    protected function setUp(): void
    {
        // What other tests of this process gave it.
        (new \ReflectionProperty(Fallback::class, 'instance'))->setValue(null, null);
    }

    private static function app(): Credentials
    {
        return new Credentials(getenv('ASKR_APP_ID'), getenv('ASKR_APP_KEY'), getenv('ASKR_APP_SECRET'));
    }

    private static function client(): Client
    {
        $app = self::app();
        return Client::connect(getenv('ASKR_URL'), getenv('ASKR_APP_ID'), getenv('ASKR_APP_KEY'), getenv('ASKR_APP_SECRET'));
    }

    private static function http(string $url): Client
    {
        return new Client(new HttpApi(new HttpClient($url), self::app()), self::app());
    }

    private static function newName(): string
    {
        static $n = 0;
        return 'php-' . getmypid() . '-' . ++$n;
    }

    public function test_it_takes_the_extension_where_it_is_loaded(): void
    {
        $this->assertInstanceOf(Extension::loaded() ? Extension::class : HttpApi::class, self::client()->transport);
    }

    public function test_an_event_is_described_and_sent(): void
    {
        $askr = self::client();
        $channel = self::newName();
        $this->assertTrue($askr->channel($channel)->event('shipped')->data(['id' => 7])->except('nonsense')->send());
        [$event] = $askr->history($channel);
        $this->assertSame(['shipped', '{"id":7}'], [$event['event'], $event['data']]);
        $this->assertEqualsWithDelta(microtime(true), $event['time'], 60);
    }

    public function test_over_http_it_is_the_same_by_tcp_and_by_a_unix_socket(): void
    {
        foreach ([getenv('ASKR_URL'), 'unix:' . getenv('ASKR_TEST_DIR') . '/askrd.sock'] as $url) {
            $askr = self::http($url);
            $channel = self::newName();
            $payload = str_repeat('ü', 50_000);
            $askr->channel($channel)->raw($payload)->send();
            $askr->channel($channel)->event('a')->data(1)->key("$channel-key")->send();
            $askr->channel($channel)->event('a')->data(2)->key("$channel-key")->send();
            $history = $askr->history($channel);
            $this->assertSame([['message', $payload], ['a', '1']], array_map(fn ($one) => [$one['event'], $one['data']], $history));
            $this->assertSame([], $askr->members('presence-nobody'));
            $this->assertSame([], $askr->channels('nobody-'));
            $this->assertNull($askr->disconnectUser('somebody 7/ü'));
            $this->assertNull($askr->cursor());
        }
    }

    public function test_what_was_overwritten_is_reported_in_a_history_as_by_the_extension(): void
    {
        $gap = self::http(getenv('ASKR_URL'))->history($channel = self::newName(), 10, since: '0123456789ab-7');
        $this->assertSame('askr:gap', $gap[0]['event']);
        $this->assertSame('{"lost":null,"at_most":null}', $gap[0]['data']);
        if (Extension::loaded()) {
            $same = askr_history($channel, 10, '0123456789ab-7');
            $this->assertSame([$same[0]['event'], $same[0]['data']], [$gap[0]['event'], $gap[0]['data']]);
        }
    }

    public function test_what_askrd_refuses_is_an_exception_with_its_reason(): void
    {
        $wrong = new Credentials('shop', 'shop-key', 'another secret');
        foreach ([
            '401' => fn () => (new Client(new HttpApi(new HttpClient(getenv('ASKR_URL')), $wrong)))->channel('a')->send(),
            'does not answer at http://127.0.0.1:1' => fn () => self::http('http://127.0.0.1:1')->channel('a')->send(),
            'only with the extension' => fn () => self::http(getenv('ASKR_URL'))->channel('a')->id('mine')->send(),
            'askrd forget' => fn () => self::http(getenv('ASKR_URL'))->forget('a'),
            'has no secret' => fn () => (new Credentials('a', 'a', ''))->token(['a'], 60),
        ] as $message => $mistake) {
            try {
                $mistake();
                $this->fail("no exception: $message");
            } catch (Exception $e) {
                $this->assertStringContainsString((string) $message, $e->getMessage());
            }
        }
    }

    public function test_what_answers_without_speaking_http_or_in_no_end_is_an_exception(): void
    {
        foreach (['' => 'gave no answer', "220 mail ready\r\n" => 'does not speak HTTP', "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}" => 'in time'] as $says => $message) {
            $server = stream_socket_server('tcp://127.0.0.1:0');
            $pid = pcntl_fork();
            if ($pid === 0) {
                $peer = stream_socket_accept($server);
                fread($peer, 100);
                fwrite($peer, $says);
                stream_socket_shutdown($peer, STREAM_SHUT_WR);
                posix_kill(getmypid(), SIGKILL);
            }
            try {
                self::http('http://' . stream_socket_get_name($server, false))->members('presence-a');
                $this->fail('no exception');
            } catch (Exception $e) {
                $this->assertStringContainsString($message, $e->getMessage());
            }
            pcntl_waitpid($pid, $status);
        }
    }

    /** @dataProvider wrongArguments */
    public function test_a_wrong_argument_names_itself(\Closure $mistake, string $message): void
    {
        $this->expectException(\ValueError::class);
        $this->expectExceptionMessage($message);
        $mistake();
    }

    public static function wrongArguments(): array
    {
        return [
            [fn () => self::http(getenv('ASKR_URL'))->channel('askr:x')->send(), 'a channel must not start with "askr:"'],
            [fn () => self::http(getenv('ASKR_URL'))->channel('')->send(), 'a channel must be 1 to 200 bytes long, 0 given'],
            [fn () => self::http(getenv('ASKR_URL'))->channel("a\x07")->send(), 'control characters'],
            [fn () => self::http(getenv('ASKR_URL'))->channel('a')->event("a\nb")->send(), 'an event must be one line'],
            [fn () => self::http(getenv('ASKR_URL'))->channel('a')->raw("\xff")->send(), 'the payload must be UTF-8'],
            [fn () => self::http(getenv('ASKR_URL'))->channel()->send(), 'an event needs a channel'],
            [fn () => new HttpClient('http://a:b@c/'), 'the address of askrd must be like'],
            [fn () => new Client(new Extension, null, 'short'), 'the encryption key must be 32 bytes long'],
            [fn () => self::app()->token(['a'], 0), '$ttl must be between 1 and 2678400'],
            [fn () => self::app()->token(array_map(fn ($n) => "c$n", range(1, 101)), 60), 'at most 100 elements'],
            [fn () => self::app()->token(['a'], 60, "a\x00b"), 'control characters'],
            [fn () => self::app()->token(['a'], 60, patterns: ['private-a']), '$patterns must end with "*"'],
            [fn () => self::app()->token(['a'], 60, '7', ['x' => str_repeat('x', 1100)]), '$info must be at most 1024 bytes'],
            [fn () => self::app()->token(array_map(fn ($n) => str_repeat('x', 190) . $n, range(1, 100)), 60), 'a token of more than 4000 bytes'],
        ];
    }

    public function test_a_socket_id_is_two_numbers_of_32_bits(): void
    {
        foreach (['0.0', '1.2', '4294967295.4294967295'] as $id) {
            $this->assertSame($id, Rule::socketId($id));
        }
        foreach (['', '.', '1', '01.2', '1.00', '4294967296.1', '+1.2', ' 1.2', "1.2\n", null, 1.2, ['1.2'], str_repeat('1', 100) . '.1'] as $other) {
            $this->assertNull(Rule::socketId($other));
        }
    }

    /** askrd itself reads it: what the token does not say stays closed. */
    public function test_a_token_opens_what_it_says_and_nothing_else(): void
    {
        $token = self::app()->token(['private-a', 'private-b*'], 60, 'grace', ['name' => 'Grace'], ['private-c.*']);
        $http = new HttpClient(getenv('ASKR_URL'));
        $status = fn (string $channel) => $http->ask('GET', "/askr/history?channel=$channel", ['Authorization' => "Bearer $token"])[0];
        $this->assertSame(
            [200, 200, 403, 200, 403, 403],
            array_map($status, ['private-a', 'private-b%2A', 'private-bc', 'private-c.7', 'private-c', 'private-d']),
        );
        [, $claims] = explode('.', $token);
        $claims = json_decode(base64_decode(strtr($claims, '-_', '+/')), true);
        $this->assertSame(['channels' => ['private-a', 'private-c.*'], 'exact_channels' => ['private-b*'], 'sub' => 'grace', 'info' => ['name' => 'Grace']], array_diff_key($claims, ['iat' => 0, 'exp' => 0]));
    }

    public function test_no_dump_shows_a_secret(): void
    {
        ob_start();
        var_dump(self::client());
        $dump = ob_get_clean() . print_r(self::client(), true);
        $this->assertStringNotContainsString(getenv('ASKR_APP_SECRET'), $dump);
    }

    public function test_the_stubs_are_those_of_the_extension(): void
    {
        $this->assertFileEquals(dirname(__DIR__, 3) . '/ext/askr.stub.php', dirname(__DIR__) . '/stubs/askr.php');
    }

    public function test_the_functions_without_the_extension_are_declared_as_by_it(): void
    {
        $declared = function (string $file): array {
            preg_match_all('/function (askr_\w+)\((.*?)\): (\S+)/s', file_get_contents($file), $functions, PREG_SET_ORDER);
            $plain = fn (string $text) => trim(preg_replace('/\s+/', ' ', $text), ' ,');
            return array_combine(array_column($functions, 1), array_map(fn ($one) => [$plain($one[2]), $one[3]], $functions));
        };
        [$stub, $own] = [$declared(dirname(__DIR__) . '/stubs/askr.php'), $declared(dirname(__DIR__) . '/src/functions.php')];
        $this->assertCount(14, $stub);
        $this->assertEquals($stub, $own);
    }

    /** @group http */
    public function test_the_functions_work_over_http(): void
    {
        $channel = self::newName();
        $this->assertTrue(askr_broadcast($channel, '{"n":1}', event: 'n'));
        $this->assertSame(2, askr_broadcast_all([['channel' => $channel, 'payload' => '2'], ['channel' => [$channel, 'b'], 'payload' => '3', 'event' => 'n']]));
        $this->assertSame(['{"n":1}', '2', '3'], array_column(askr_history($channel), 'data'));
        // What a page says of itself keeps its event from nobody: so by the extension.
        foreach (['nonsense', '1.2.3', '99999999999.1', "1.2\r\n"] as $except) {
            $this->assertTrue(askr_broadcast($other = self::newName(), '1', except: $except), $except);
            $this->assertTrue(self::http(getenv('ASKR_URL'))->publish([$other], '2', except: $except), $except);
            $this->assertSame(['1', '2'], array_column(askr_history($other), 'data'));
        }
        $this->assertSame([], askr_channels('nobody-'));
        $this->assertSame([], askr_members('presence-nobody'));
        $this->assertSame(0, askr_disconnect_user('nobody'));
        $this->assertNull(askr_cursor());
        $this->assertFalse(askr_status()['attached']);
        $this->assertSame(3, askr_status()['published'] - 4);
        $this->assertCount(3, explode('.', askr_token(['private-a'], 60)));
        askr_register_event('b', 'a');
        $this->assertSame(['a', 'b'], askr_events());

        Fallback::use(self::http('http://127.0.0.1:1'), 'silent');
        $this->assertFalse(askr_broadcast($channel, '4'), 'a site never breaks because live updates are away');
        $this->assertStringContainsString('127.0.0.1:1', askr_status()['reason']);
        Fallback::use(self::http('http://127.0.0.1:1'), 'exception');
        $this->expectException(Exception::class);
        askr_broadcast($channel, '5');
    }

    /**
     * @group http
     *
     * @dataProvider wrongElements
     */
    public function test_of_several_events_none_is_published_if_one_is_wrong(array $wrong, string $error, string $message): void
    {
        $channel = self::newName();
        try {
            askr_broadcast_all([['channel' => $channel, 'payload' => '1'], $wrong + ['channel' => $channel, 'payload' => '2']]);
            $this->fail('no error');
        } catch (\Error $e) {
            $this->assertInstanceOf($error, $e);
            $this->assertStringContainsString('element 1', $e->getMessage());
            $this->assertStringContainsString($message, $e->getMessage());
        }
        $this->assertSame([], askr_history($channel));
    }

    public static function wrongElements(): array
    {
        return [
            [['channel' => 'askr:x'], \ValueError::class, 'must not start with "askr:"'],
            [['channel' => []], \ValueError::class, '1 to 100 channels'],
            [['channel' => array_map(strval(...), range(1, 101))], \ValueError::class, '1 to 100 channels'],
            [['channel' => ['a', ['b']]], \TypeError::class, '"channel"'],
            [['channel' => 7.5], \TypeError::class, '"channel"'],
            [['payload' => ['n' => 1]], \TypeError::class, '"payload"'],
            [['payload' => "\xff"], \ValueError::class, 'UTF-8'],
            [['event' => "a\nb"], \ValueError::class, 'an event must be one line'],
            [['event' => ''], \ValueError::class, 'an event must be 1 to 200 bytes long'],
            [['event' => ['a']], \TypeError::class, '"event"'],
            [['key' => str_repeat('k', 201)], \ValueError::class, 'a key must be 1 to 200 bytes long'],
            [['retry' => 'soon'], \TypeError::class, '"retry"'],
        ];
    }

    /** @group http */
    public function test_the_functions_check_what_they_are_given(): void
    {
        foreach ([
            'must be 1 to 100 channels' => fn () => askr_broadcast([], 'x'),
            'element 0 must be an array with channel and payload' => fn () => askr_broadcast_all([['channel' => 'a']]),
            'element 1 has the unknown key "name"' => fn () => askr_broadcast_all([['channel' => 'a', 'payload' => '1'], ['channel' => 'a', 'payload' => '1', 'name' => 'x']]),
            'ASKR_ON_FAILURE must be' => fn () => Fallback::use(self::client(), 'panic'),
        ] as $message => $mistake) {
            try {
                $mistake();
                $this->fail("no error: $message");
            } catch (\ValueError $e) {
                $this->assertStringContainsString($message, $e->getMessage());
            }
        }
    }
}

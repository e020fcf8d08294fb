<?php

namespace Askr\Laravel\Tests;

use Askr\HttpClient;
use Askr\Laravel\Facades\Askr;
use Illuminate\Auth\Events\Logout;
use Illuminate\Auth\GenericUser;
use Illuminate\Support\Facades\Broadcast;
use Illuminate\Support\Facades\Event;
use Symfony\Component\HttpFoundation\Cookie;
use Symfony\Component\HttpFoundation\Response;

class TokenTest extends TestCase
{
    private function ask(mixed $channels, ?string $user = '7', array $headers = []): Response
    {
        return $this->request('POST', '/broadcasting/askr/token', ['channels' => $channels], $headers, $user);
    }

    /** @return list<Cookie> */
    private function cookies(Response $response): array
    {
        return array_values(array_filter($response->headers->getCookies(), fn ($cookie) => $cookie->getName() === 'askr_token'));
    }

    private function token(Response $response): string
    {
        return $this->cookies($response)[0]->getValue();
    }

    /** What askrd says to this token: 200, 401 or 403. */
    private function answered(string $token, string $channel): int
    {
        return (new HttpClient(getenv('ASKR_URL')))->ask('GET', '/askr/history?channel=' . rawurlencode($channel), ['Cookie' => "askr_token=$token"])[0];
    }

    public function test_one_request_opens_all_channels_that_the_closures_let_in(): void
    {
        $channels = ['private-orders.7', 'private-orders.18', 'presence-team', 'private-unknown', 'private-orders.9'];
        $response = $this->ask($channels);
        $this->assertSame(200, $response->getStatusCode());
        $answer = $this->json($response);
        $open = ['private-orders.7' => true, 'private-orders.18' => false, 'presence-team' => true, 'private-unknown' => false, 'private-orders.9' => true];
        $this->assertEquals($open, $answer['channels']);
        $this->assertSame([], $answer['separate']);
        $this->assertEqualsWithDelta(time() + 3600, $answer['expires'], 5);
        foreach ($open as $channel => $is) {
            $this->assertSame($is ? 200 : 403, $this->answered($this->token($response), $channel), $channel);
        }
    }

    public function test_the_token_is_a_cookie_that_scripts_cannot_read_for_askrds_paths_and_not_encrypted(): void
    {
        $response = $this->ask(['private-orders.7']);
        $cookies = $this->cookies($response);
        $this->assertSame(['/askr', '/app'], array_map(fn ($cookie) => $cookie->getPath(), $cookies));
        foreach ($cookies as $cookie) {
            $this->assertSame(['askr_token', true, false, 'lax'], [$cookie->getName(), $cookie->isHttpOnly(), $cookie->isSecure(), $cookie->getSameSite()]);
            $this->assertCount(3, explode('.', $cookie->getValue()));
        }
        $this->assertStringContainsString('no-store', $response->headers->get('Cache-Control'));
    }

    public function test_what_a_token_has_no_room_for_is_separate(): void
    {
        Broadcast::channel('long.{id}', fn () => true);
        $channels = array_map(fn ($n) => 'private-long.' . str_repeat('x', 60) . $n, range(1, 100));
        $response = $this->ask(['private-orders.7', ...\array_slice($channels, 1)]);
        $this->assertSame(200, $response->getStatusCode());
        $answer = $this->json($response);
        $open = array_keys(array_filter($answer['channels']));
        $this->assertGreaterThan(30, \count($open));
        $this->assertSame('private-orders.7', $open[0]);
        $this->assertSame(100, \count($open) + \count($answer['separate']));
        $this->assertSame([], array_intersect($open, $answer['separate']));
        $this->assertSame(200, $this->answered($this->token($response), end($open)));
        $this->assertSame(403, $this->answered($this->token($response), $answer['separate'][0]));
    }

    public function test_info_that_is_too_much_for_a_token_closes_no_other_channel(): void
    {
        Broadcast::channel('large', fn () => ['bio' => str_repeat('x', 2000)]);
        Broadcast::channel('no-json', fn () => ['bio' => "\xff"]);
        $answer = $this->json($response = $this->ask(['presence-large', 'presence-no-json', 'presence-team', 'private-orders.7']));
        $this->assertSame(200, $response->getStatusCode());
        $this->assertSame(['presence-large', 'presence-no-json'], $answer['separate']);
        $this->assertEquals(
            ['presence-large' => false, 'presence-no-json' => false, 'presence-team' => true, 'private-orders.7' => true], $answer['channels'],
        );
        $this->assertSame(200, $this->answered($this->token($response), 'presence-team'));
    }

    public function test_nobody_gets_nothing(): void
    {
        $response = $this->ask(['private-orders.7'], null);
        $this->assertSame(403, $response->getStatusCode());
        $this->assertSame([], $this->cookies($response));
    }

    /** @dataProvider noChannels */
    public function test_what_is_no_list_of_channels_is_refused_with_what_is_allowed(mixed $channels): void
    {
        $response = $this->ask($channels);
        $this->assertSame(422, $response->getStatusCode());
        $this->assertStringContainsString('1 to 100 names', $response->getContent());
    }

    public static function noChannels(): array
    {
        return [[null], [[]], ['private-a'], [[7]], [[['private-a']]], [array_fill(0, 101, 'private-a')]];
    }

    public function test_names_that_cannot_be_channels_and_channels_that_need_no_token_are_not_in_it(): void
    {
        $channels = ['orders', "private-orders.7\n", 'private-' . str_repeat('x', 300), 'askr:x', 'presence-', 'private-orders.7'];
        $answer = $this->json($this->ask($channels));
        $this->assertSame(['private-orders.7'], array_keys(array_filter($answer['channels'])));
        $this->assertCount(6, $answer['channels']);
    }

    public function test_a_star_in_a_name_opens_no_other_channel(): void
    {
        Broadcast::channel('stars.{any}', fn () => true);
        $token = $this->token($this->ask(['private-stars.*']));
        $this->assertSame(403, $this->answered($token, 'private-stars.7'));
        $this->assertSame(200, $this->answered($token, 'private-stars.*'));
    }

    public function test_a_closure_that_is_broken_or_aborts_keeps_its_channel_closed_and_no_other(): void
    {
        $answer = $this->json($this->ask(['private-broken', 'private-aborted', 'private-orders.7']));
        $this->assertEquals(['private-broken' => false, 'private-aborted' => false, 'private-orders.7' => true], $answer['channels']);
        $this->assertStringContainsString('this closure is broken', file_get_contents(storage_path('logs/laravel.log')));
    }

    public function test_what_one_token_cannot_say_is_said_to_be_separate(): void
    {
        // Another info, and another guard's user.
        $response = $this->ask(['presence-team', 'presence-party', 'presence-masks', 'private-admins'], '7', ['X-Admin' => 'root']);
        $answer = $this->json($response);
        $this->assertEquals(['presence-team' => true, 'presence-party' => true, 'presence-masks' => false, 'private-admins' => false], $answer['channels']);
        $this->assertSame(['presence-masks', 'private-admins'], $answer['separate']);
        $this->assertSame(403, $this->answered($this->token($response), 'private-admins'));
    }

    public function test_encrypted_channels_bring_their_keys(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'encryption_key' => base64_encode($master = random_bytes(32))]]);
        $answer = $this->json($this->ask([$channel = 'private-encrypted-encrypted.7', 'private-orders.7']));
        $this->assertSame([$channel => base64_encode(hash('sha256', $channel . $master, true))], $answer['shared_secrets']);
    }

    public function test_an_encrypted_channel_without_a_key_stays_closed_and_the_log_says_why(): void
    {
        $answer = $this->json($this->ask(['private-encrypted-encrypted.7', 'private-orders.7']));
        $this->assertEquals(['private-encrypted-encrypted.7' => false, 'private-orders.7' => true], $answer['channels']);
        $this->assertStringContainsString('encrypted channels need an encryption key', file_get_contents(storage_path('logs/laravel.log')));
    }

    public function test_asked_again_it_renews_and_what_is_closed_by_then_is_not_in_it(): void
    {
        $this->configured(['askr.token.ttl' => 60]);
        $may = true;
        Broadcast::channel('rented', function () use (&$may) {
            return $may;
        });
        $this->assertTrue($this->json($this->ask(['private-rented']))['channels']['private-rented']);
        $may = false;
        $renewed = $this->ask(['private-rented']);
        $this->assertFalse($this->json($renewed)['channels']['private-rented']);
        $this->assertSame(403, $this->answered($this->token($renewed), 'private-rented'));
        $this->assertEqualsWithDelta(time() + 60, $this->json($renewed)['expires'], 5);
    }

    public function test_signing_out_revokes_the_users_tokens_and_takes_the_cookie_and_nobody_elses(): void
    {
        [$ada, $bob] = [$this->token($this->ask(['private-orders.7'], 'ada')), $this->token($this->ask(['private-orders.7'], 'bob'))];
        $this->assertSame(200, $this->answered($ada, 'private-orders.7'));
        $response = $this->request('POST', '/logout', user: 'ada');
        $this->assertSame(200, $response->getStatusCode());
        $gone = $this->cookies($response);
        $this->assertSame(['/askr', '/app'], array_map(fn ($cookie) => $cookie->getPath(), $gone));
        foreach ($gone as $cookie) {
            $this->assertTrue($cookie->isCleared());
        }
        $this->assertSame(401, $this->answered($ada, 'private-orders.7'));
        $this->assertSame(200, $this->answered($bob, 'private-orders.7'));
    }

    public function test_signing_out_works_while_askrd_is_away_and_the_log_says_what_that_means(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'transport' => 'http', 'url' => 'http://127.0.0.1:1']]);
        $this->assertSame(200, $this->request('POST', '/logout', user: 'ada')->getStatusCode());
        $this->assertStringContainsString('askrd does not answer at http://127.0.0.1:1', file_get_contents(storage_path('logs/laravel.log')));
    }

    public function test_signing_out_revokes_nothing_by_a_setting(): void
    {
        $this->configured(['askr.token.revoke_on_logout' => false]);
        $token = $this->token($this->ask(['private-orders.7'], 'carl'));
        Event::dispatch(new Logout('web', new GenericUser(['id' => 'carl'])));
        $this->assertSame(200, $this->answered($token, 'private-orders.7'));
    }

    public function test_without_a_route_there_is_none(): void
    {
        $this->configured(['askr.token.route' => null, 'askr.webhook.route' => null]);
        $this->assertSame(404, $this->ask(['private-orders.7'])->getStatusCode());
        $this->assertSame(404, $this->request('POST', '/broadcasting/askr/webhook')->getStatusCode());
    }

    public function test_a_device_gets_a_token_by_hand(): void
    {
        $token = Askr::token(['private-orders.7'], 60, new GenericUser(['id' => 7]));
        $this->assertSame(200, $this->answered($token, 'private-orders.7'));
        $this->assertSame(403, $this->answered($token, 'private-orders.8'));
    }
}

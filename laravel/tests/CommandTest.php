<?php

namespace Askr\Laravel\Tests;

use Askr\Extension;
use Askr\Laravel\Facades\Askr;
use Illuminate\Contracts\Console\Kernel;

class CommandTest extends TestCase
{
    /** @return array{int, string} */
    private function artisan(string $command, array $parameters = []): array
    {
        $kernel = $this->app->make(Kernel::class);
        return [$kernel->call($command, $parameters + ['--no-interaction' => true]), $kernel->output()];
    }

    /** @return array<string, array{state: string, detail: string, mend: ?string}> by what was looked at */
    private function looked(array $connection = [], array $config = []): array
    {
        $this->configured($config + ['broadcasting.connections.askr' => ['driver' => 'askr'] + $connection]);
        [$code, $said] = $this->artisan('askr:status', ['--json' => true]);
        $checks = json_decode($said, true);
        $this->assertSame(array_filter($checks, fn ($check) => $check['state'] === 'problem') === [] ? 0 : 1, $code);
        return array_reverse(array_column($checks, null, 'what'));
    }

    public function test_all_is_well(): void
    {
        foreach ($this->looked() as $what => $check) {
            $this->assertContains($check['state'], ['ok', 'note'], "$what: $check[detail]");
        }
        [$code, $said] = $this->artisan('askr:status');
        $this->assertSame(0, $code);
        $this->assertStringContainsString(Extension::loaded() ? 'publishes to ' . ini_get('askr.ring') : 'not loaded: events go over HTTP', $said);
        $this->assertStringContainsString('pages of http://127.0.0.1:8000 may connect', $said);
        $this->assertStringNotContainsString(getenv('ASKR_APP_SECRET'), $said);
    }

    /** @dataProvider whatCanBeWrong */
    public function test_what_is_wrong_is_said_with_what_mends_it(array $connection, array $config, string $what, string $detail, string $mend): void
    {
        $check = $this->looked($connection, $config)[$what];
        $this->assertSame('problem', $check['state'], $check['detail']);
        $this->assertStringContainsString($detail, $check['detail']);
        $this->assertStringContainsString($mend, $check['mend']);
    }

    public static function whatCanBeWrong(): array
    {
        return [
            [[], ['broadcasting.default' => 'log'], 'broadcasting', 'the default connection is "log"', 'BROADCAST_DRIVER=askr in .env'],
            [['url' => 'http://127.0.0.1:1'], [], 'application', 'does not answer at http://127.0.0.1:1', 'server.listen of askr.toml'],
            [['secret' => 'another one'], [], 'application', '401', 'app.secret of askr.toml'],
            [['id' => 'nobody'], [], 'application', '404', 'app.id of askr.toml'],
            [['secret' => ''], [], 'application', 'has no secret', 'askr:install'],
            [[], ['app.url' => 'https://127.0.0.1:1'], 'origin', 'pages of https://127.0.0.1:1 are refused', 'allowed_origins = ["https://127.0.0.1:1"]'],
            [[], ['askr.token' => ['secure' => true]], 'cookie', 'browsers drop it', "'secure' => null"],
        ];
    }

    public function test_a_connection_of_another_driver_is_a_sentence(): void
    {
        [$code, $said] = $this->artisan('askr:status', ['--connection' => 'pusher']);
        $this->assertSame(2, $code);
        $this->assertStringContainsString('broadcasting.connections.pusher is no connection of driver "askr"', $said);
        foreach (['askr:channels' => [], 'askr:disconnect' => ['user' => '7'], 'askr:tail' => ['channel' => ['a']]] as $command => $parameters) {
            [$code, $said] = $this->artisan($command, $parameters + ['--connection' => 'pusher']);
            $this->assertSame(1, $code);
            $this->assertStringContainsString('roadcasting.connections.pusher is no connection of driver "askr"', $said);
        }
    }

    public function test_tail_shows_what_was_and_what_comes(): void
    {
        $channel = $this->newName();
        foreach ([1, 2, 3] as $n) {
            Askr::channel($channel)->event('n')->data(['text' => "ü/$n"])->send();
        }
        [$code, $said] = $this->artisan('askr:tail', ['channel' => [$channel], '--rewind' => 2, '--limit' => 2]);
        $this->assertSame(0, $code);
        $lines = array_map(fn ($line) => json_decode($line, true), explode("\n", trim($said)));
        $this->assertSame([[$channel, 'n', '{"text":"\u00fc\/2"}'], [$channel, 'n', '{"text":"\u00fc\/3"}']], array_map(fn ($one) => [$one['channel'], $one['event'], $one['data']], $lines));
    }

    public function test_tail_ends_after_as_many_as_it_was_told_also_of_what_was(): void
    {
        [$one, $other] = [$this->newName(), $this->newName()];
        foreach ([$one, $other] as $channel) {
            foreach ([1, 2, 3] as $n) {
                Askr::channel($channel)->event('n')->data($n)->send();
            }
        }
        [$code, $said] = $this->artisan('askr:tail', ['channel' => [$one, $other], '--rewind' => 3, '--limit' => 4]);
        $this->assertSame([0, 4], [$code, substr_count($said, "\n")]);
    }

    /** @dataProvider noNumbers */
    public function test_tail_says_which_numbers_it_takes(string $option, string $value): void
    {
        [$code, $said] = $this->artisan('askr:tail', ['channel' => ['a'], "--limit" => '1', "--$option" => $value]);
        $this->assertSame(2, $code);
        $this->assertStringContainsString("--$option must be a number", $said);
        $this->assertStringContainsString("\"$value\" is not", $said);
    }

    public static function noNumbers(): array
    {
        return [['rewind', '5m'], ['rewind', '1001'], ['rewind', '-1'], ['limit', 'all'], ['limit', '-1']];
    }

    public function test_channels_and_disconnect_say_what_they_found(): void
    {
        $this->assertSame([0, "Nobody listens.\n"], $this->artisan('askr:channels', ['prefix' => 'nobody-']));
        [$code, $said] = $this->artisan('askr:disconnect', ['user' => 'nobody']);
        $this->assertSame(Extension::loaded() ? 1 : 0, $code);
        $this->assertStringContainsString('Tokens issued until now are refused.', $said);
        $this->assertSame(2, $this->artisan('askr:disconnect')[0]);
        $this->assertSame(2, $this->artisan('askr:disconnect', ['user' => '7', '--socket' => '1.2'])[0]);
        $this->assertSame(1, $this->artisan('askr:disconnect', ['--socket' => 'nonsense'])[0]);
    }

    public function test_when_askrd_is_away_a_command_says_so_in_a_sentence(): void
    {
        $this->configured(['broadcasting.connections.askr' => ['driver' => 'askr', 'transport' => 'http', 'url' => 'http://127.0.0.1:1']]);
        foreach (['askr:channels' => [], 'askr:disconnect' => ['user' => '7'], 'askr:tail' => ['channel' => ['a']]] as $command => $parameters) {
            [$code, $said] = $this->artisan($command, $parameters);
            $this->assertSame(1, $code);
            $this->assertStringContainsString('Askrd does not answer at http://127.0.0.1:1', $said);
            $this->assertStringContainsString('askr:status', $said);
        }
    }
}

<?php

namespace Askr\Laravel\Console;

use Askr\Laravel\AskrManager;
use Askr\Laravel\Client;
use Illuminate\Console\Command;

/**
 * Shows events as they are published, from the ring's history, so that it needs no right to a channel and joins none.
 * All channels at once: `askrd tail`.
 */
class TailCommand extends Command
{
    use ReportsFailures;

    protected $signature = 'askr:tail
        {channel* : Whole names, such as private-orders.7}
        {--rewind=0 : Begin with so many of the newest events of each}
        {--limit=0 : End after so many; 0: never}
        {--connection= : Of broadcasting}';
    protected $description = 'Show events of channels as they are published, one line of JSON each';

    /** Events of one answer. */
    private const MOST = 1000;
    private const PAUSE_MICROSECONDS = 200_000;

    public function handle(AskrManager $askr): int
    {
        foreach (['rewind' => self::MOST, 'limit' => PHP_INT_MAX] as $option => $most) {
            $given = (string) $this->option($option);
            if (filter_var($given, FILTER_VALIDATE_INT, ['options' => ['min_range' => 0, 'max_range' => $most]]) === false) {
                $this->error("--$option must be a number of events" . ($option === 'rewind' ? ', at most ' . self::MOST : '') . ", \"$given\" is not.");
                return 2;
            }
        }
        return $this->reported(function () use ($askr) {
            $client = $askr->client($this->option('connection'));
            $channels = array_values(array_unique($this->argument('channel')));
            [$rewind, $limit] = [(int) $this->option('rewind'), (int) $this->option('limit')];
            $shown = 0;
            $since = [];
            foreach ($channels as $channel) {
                $events = $client->history($channel, max(1, $rewind));
                foreach ($rewind > 0 ? $events : [] as $event) {
                    $this->show($channel, $event);
                    if (++$shown === $limit) {
                        return self::SUCCESS;
                    }
                }
                $since[$channel] = end($events)['cursor'] ?? $client->cursor();
            }
            while ($limit === 0 || $shown < $limit) {
                $new = 0;
                foreach ($channels as $channel) {
                    foreach ($this->after($client, $channel, $since[$channel]) as $event) {
                        $this->show($channel, $event);
                        $new++;
                        if ($limit > 0 && $shown + $new >= $limit) {
                            return self::SUCCESS;
                        }
                    }
                }
                $shown += $new;
                if ($new === 0) {
                    usleep(self::PAUSE_MICROSECONDS);
                }
            }
        });
    }

    private function after(Client $client, string $channel, ?string &$since): array
    {
        $events = $client->history($channel, self::MOST, $since);
        $since = end($events)['cursor'] ?? $since;
        return $events;
    }

    private function show(string $channel, array $event): void
    {
        $flags = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE;
        $this->line(json_encode(['channel' => $channel] + $event, $flags));
    }
}

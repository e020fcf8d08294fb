<?php

namespace Askr\Laravel\Console;

use Askr\Laravel\AskrManager;
use Illuminate\Console\Command;

class ChannelsCommand extends Command
{
    use ReportsFailures;

    protected $signature = 'askr:channels {prefix? : Only names that begin so} {--connection= : Of broadcasting}';
    protected $description = 'List the channels that have subscribers, and how many each';

    public function handle(AskrManager $askr): int
    {
        return $this->reported(function () use ($askr) {
            $channels = $askr->client($this->option('connection'))->channels($this->argument('prefix'));
            ksort($channels, SORT_STRING);
            foreach ($channels as $channel => $subscribers) {
                $this->line("$channel\t$subscribers");
            }
            if ($channels === []) {
                $this->line('Nobody listens.');
            }
        });
    }
}

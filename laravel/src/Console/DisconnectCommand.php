<?php

namespace Askr\Laravel\Console;

use Askr\Laravel\AskrManager;
use Illuminate\Console\Command;

class DisconnectCommand extends Command
{
    use ReportsFailures;

    protected $signature = 'askr:disconnect
        {user? : A user\'s id: all of their connections end, and tokens issued until now are refused}
        {--socket= : One connection, such as 123.456, which may come back}
        {--connection= : Of broadcasting}';
    protected $description = 'End the connections of a user, or one connection';

    public function handle(AskrManager $askr): int
    {
        [$user, $socket] = [$this->argument('user'), $this->option('socket')];
        if (($user === null) === ($socket === null)) {
            $this->error('Name either a user or a --socket.');
            return 2;
        }
        return $this->reported(function () use ($askr, $user, $socket) {
            $client = $askr->client($this->option('connection'));
            $ended = $user === null ? $client->disconnectSocket($socket) : $client->disconnectUser($user);
            $this->line(match ($ended) {
                null => 'Done. How many connections ended is told only to the extension.',
                1 => '1 connection ended.',
                default => "$ended connections ended.",
            } . ($user === null ? '' : ' Tokens issued until now are refused.'));
            return $ended === 0 ? self::FAILURE : self::SUCCESS;
        });
    }
}

<?php

namespace Askr\Laravel\Console;

use Askr\Laravel\AskrManager;
use Askr\Laravel\Status\Checks;
use Illuminate\Console\Command;

class StatusCommand extends Command
{
    protected $signature = 'askr:status {--connection= : Of broadcasting} {--json : For programs}';
    protected $description = 'Look at everything between a broadcast and a page, and say what mends what is wrong';

    public function handle(AskrManager $askr): int
    {
        try {
            $checks = (new Checks($this->laravel, $askr))->of($this->option('connection') ?? $askr->defaultConnection());
            $checks = iterator_to_array($checks, false);
        } catch (\InvalidArgumentException $e) {
            $this->error($e->getMessage());
            return 2;
        }
        if ($this->option('json')) {
            $this->line(json_encode($checks, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRETTY_PRINT));
        }
        foreach ($this->option('json') ? [] : $checks as $check) {
            $style = ['ok' => 'info', 'note' => 'comment', 'problem' => 'error'][$check->state];
            $this->line(sprintf('<%s>%-8s</%s> %-15s %s', $style, $check->state, $style, $check->what, $check->detail));
            if ($check->mend !== null) {
                $this->line(str_repeat(' ', 25) . "→ $check->mend");
            }
        }
        return array_filter($checks, fn ($check) => $check->state === 'problem') === [] ? self::SUCCESS : self::FAILURE;
    }
}

<?php

namespace Askr\Laravel\Console;

use Askr\Exception;

/** What askrd does not do is a sentence and exit code 1, not a trace. */
trait ReportsFailures
{
    private function reported(\Closure $command): int
    {
        try {
            return $command() ?? self::SUCCESS;
        } catch (Exception | \ValueError | \InvalidArgumentException $e) {
            $this->error(ucfirst($e->getMessage()));
            $this->line('php artisan askr:status says what is wrong.');
            return self::FAILURE;
        }
    }
}

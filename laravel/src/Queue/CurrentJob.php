<?php

namespace Askr\Laravel\Queue;

use Illuminate\Broadcasting\BroadcastEvent;
use Illuminate\Contracts\Queue\Job;
use Illuminate\Queue\Jobs\SyncJob;

/**
 * The key under which a queued event is published, so that a worker that dies, or a job that is tried again, publishes
 * it once.
 *
 * Only the job that is a broadcast event has one: what another job publishes may be right to be published again, when
 * it is tried again.
 */
class CurrentJob
{
    /** @var list<?string> A job may run others at once. */
    private array $keys = [];

    public function begin(Job $job): void
    {
        $this->keys[] = self::keyOf($job);
    }

    public function end(): void
    {
        array_pop($this->keys);
    }

    public function clear(): void
    {
        $this->keys = [];
    }

    public function key(): ?string
    {
        return end($this->keys) ?: null;
    }

    private static function keyOf(Job $job): ?string
    {
        // Nobody tries these again.
        if ($job instanceof SyncJob) {
            return null;
        }
        $command = $job->payload()['data']['commandName'] ?? '';
        return is_a($command, BroadcastEvent::class, true) ? $job->uuid() : null;
    }
}

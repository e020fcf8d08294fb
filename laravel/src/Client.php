<?php

namespace Askr\Laravel;

use Askr;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Support\Facades\Log;

/** A connection's client. What cannot be published is a BroadcastException, or a line in the log. */
class Client extends Askr\Client
{
    private bool $silent = false;
    private bool $out = false;

    /** What cannot be published is logged once for each outage, and publishing gives false. */
    public function silent(bool $silent): static
    {
        $this->silent = $silent;
        return $this;
    }

    public function publish(
        array $channels,
        string $payload,
        ?string $event = null,
        ?string $id = null,
        ?int $retry = null,
        ?string $except = null,
        ?string $key = null,
    ): bool {
        try {
            $published = parent::publish($channels, $payload, $event, $id, $retry, $except, $key);
        } catch (Askr\Exception $e) {
            return $this->failed($e);
        }
        $this->out = false;
        return $published;
    }

    private function failed(Askr\Exception $e): bool
    {
        if (! $this->silent) {
            throw new BroadcastException("Askr: {$e->getMessage()}", 0, $e);
        }
        if (! $this->out) {
            $this->out = true;
            Log::warning("Askr: {$e->getMessage()}");
        }
        return false;
    }
}

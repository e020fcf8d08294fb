<?php

namespace Askr;

/**
 * Text that is published while it is made, such as a model's answer. Its events, on one channel:
 *
 *     text.start   {"stream": "4f…"}
 *     text.part    {"stream": "4f…", "part": 1, "text": "Once upon"}
 *     text.end     {"stream": "4f…", "parts": 12}
 *     text.failed  {"stream": "4f…", "parts": 12, "error": "…"}
 *
 * Parts are numbered from 1, so a page that gets one twice (from its history and from its stream) drops the second. A
 * page that comes late subscribes with a rewind, or from the cursor that it was rendered with, and gets them all.
 *
 * Parts that come within the interval after an event go into the next one: there are at most 50 events a second.
 * Nothing waits for longer than it takes until the next part, the end, or flush().
 */
class TextStream
{
    public const INTERVAL = 0.020;
    /** Bytes of a part, after which it is sent however short the interval: far below what an event may have. */
    private const PART_BYTES = 8192;

    public readonly string $id;
    private string $name = 'text';
    private float $interval = self::INTERVAL;
    private ?string $except = null;
    private string $waiting = '';
    private float $sent = 0.0;
    private int $parts = 0;
    private bool $started = false;
    private bool $ended = false;

    public function __construct(private readonly Client $client, private readonly string $channel, ?string $id = null)
    {
        $this->id = $id ?? bin2hex(random_bytes(8));
    }

    /** What the names of its events begin with, instead of "text". */
    public function as(string $name): static
    {
        $this->name = $name;
        return $this;
    }

    /** Seconds between two events at least; 0: each part at once. */
    public function every(float $seconds): static
    {
        $this->interval = max(0.0, $seconds);
        return $this;
    }

    public function except(?string $socketId): static
    {
        $this->except = Rule::socketId($socketId);
        return $this;
    }

    /** The page may know that it comes before there is any text. Writing starts it as well. */
    public function start(): static
    {
        if (! $this->started) {
            $this->started = true;
            $this->publish('start', []);
        }
        return $this;
    }

    public function write(string|\Stringable $text): static
    {
        if ($this->ended) {
            throw new Exception('the stream has ended');
        }
        $this->start();
        $this->waiting .= $text;
        if (\strlen($this->waiting) >= self::PART_BYTES || microtime(true) - $this->sent >= $this->interval) {
            $this->flush();
        }
        return $this;
    }

    /** Sends what waits for the next part, but for the beginning of a character whose rest is still to come. */
    public function flush(): static
    {
        return $this->sendWaiting(self::wholeCharacters($this->waiting));
    }

    public function end(): void
    {
        if (! $this->ended) {
            $this->start()->sendWaiting(\strlen($this->waiting));
            $this->ended = true;
            $this->publish('end', ['parts' => $this->parts]);
        }
    }

    /**
     * What was written so far arrives, and then that nothing more comes. The reason is for the page: say nothing
     * secret.
     */
    public function fail(string $reason = 'The text could not be finished.'): void
    {
        if (! $this->ended) {
            $this->start()->sendWaiting(\strlen($this->waiting));
            $this->ended = true;
            $this->publish('failed', ['parts' => $this->parts, 'error' => $reason]);
        }
    }

    /**
     * Writes each part of an iterable as it comes, then the end. If the iterable fails, the page is told, and the
     * exception goes on.
     *
     * @param iterable<mixed> $parts texts, or whatever $text makes a text of
     * @param callable(mixed): (string|\Stringable|null)|null $text
     *
     * @return string the whole text
     */
    public function from(iterable $parts, ?callable $text = null): string
    {
        $whole = '';
        try {
            $this->start();
            foreach ($parts as $part) {
                $part = (string) ($text === null ? $part : $text($part));
                $whole .= $part;
                $this->write($part);
            }
        } catch (\Throwable $e) {
            try {
                $this->fail();
            } catch (\Throwable) {
                // Whatever a client makes of it, as Laravel's does: the first failure says more than that it could not be reported.
            }
            throw $e;
        }
        $this->end();
        return $whole;
    }

    private function sendWaiting(int $bytes): static
    {
        while ($bytes > 0) {
            $piece = $bytes <= self::PART_BYTES ? $bytes : self::wholeCharacters(substr($this->waiting, 0, self::PART_BYTES));
            $text = substr($this->waiting, 0, $piece);
            // Taken out first: should it fail, a caller who goes on does not send it twice.
            $this->waiting = substr($this->waiting, $piece);
            $bytes -= $piece;
            $this->publish('part', ['part' => ++$this->parts, 'text' => $text]);
        }
        return $this;
    }

    private function publish(string $event, array $data): void
    {
        $payload = json_encode(['stream' => $this->id] + $data, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE);
        $this->client->publish([$this->channel], $payload, "$this->name.$event", except: $this->except);
        $this->sent = microtime(true);
    }

    /** Bytes up to the last whole character: a part may end in the middle of one. */
    private static function wholeCharacters(string $text): int
    {
        $length = \strlen($text);
        for ($back = 1; $back <= min(3, $length); $back++) {
            $byte = \ord($text[$length - $back]);
            if ($byte >= 0xc0) {
                $needs = $byte >= 0xf0 ? 4 : ($byte >= 0xe0 ? 3 : 2);
                return $back < $needs ? $length - $back : $length;
            }
            if ($byte < 0x80) {
                break;
            }
        }
        return $length;
    }
}

<?php

namespace Askr\Laravel\Status;

/** What was looked at, how it is, and what mends it. */
final class Check
{
    private function __construct(
        public readonly string $what,
        public readonly string $state,
        public readonly string $detail,
        public readonly ?string $mend = null,
    ) {
    }

    public static function ok(string $what, string $detail): self
    {
        return new self($what, 'ok', $detail);
    }

    /** Works, and might be better. */
    public static function note(string $what, string $detail, ?string $mend = null): self
    {
        return new self($what, 'note', $detail, $mend);
    }

    public static function problem(string $what, string $detail, string $mend): self
    {
        return new self($what, 'problem', $detail, $mend);
    }
}

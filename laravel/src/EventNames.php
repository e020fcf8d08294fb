<?php

namespace Askr\Laravel;

use Askr\Extension;
use Illuminate\Contracts\Broadcasting\ShouldBroadcast;

/** The names that events may have (askr.events), and whether others are refused (askr.strict). */
class EventNames
{
    /** @var array<string, true>|null */
    private ?array $names = null;

    /** @param list<string> $listed names, and enums whose cases are names */
    public function __construct(private readonly array $listed, private readonly bool $strict)
    {
    }

    /** @throws \ValueError for a name that may not be used */
    public function check(?string $name): void
    {
        $known = $name !== null && ($this->has($name) || is_subclass_of($name, ShouldBroadcast::class));
        if ($this->strict && ! $known) {
            throw new \ValueError(
                $name === null ? 'an event must have a registered name while askr.strict is true'
                    : "an event must be registered in askr.events while askr.strict is true, \"$name\" is not" . $this->nearest($name),
            );
        }
        if ($known && Extension::loaded() && \ini_get('askr.strict')) {
            // php.ini has a list of its own, to which this adds for the rest of the request.
            askr_register_event($name);
        }
    }

    private function has(string $name): bool
    {
        return isset($this->all()[$name]);
    }

    /** @return array<string, true> */
    private function all(): array
    {
        if ($this->names === null) {
            $this->names = [];
            foreach ($this->listed as $listed) {
                $names = enum_exists($listed)
                    ? array_map(fn (\UnitEnum $case) => $case instanceof \BackedEnum ? (string) $case->value : $case->name, $listed::cases())
                    : [$listed];
                $this->names += array_fill_keys($names, true);
            }
        }
        return $this->names;
    }

    private function nearest(string $name): string
    {
        $best = null;
        $least = max(2, intdiv(\strlen($name), 3)) + 1;
        foreach (array_keys($this->all()) as $known) {
            $distance = levenshtein(substr($name, 0, 200), (string) $known);
            if ($distance < $least) {
                [$best, $least] = [$known, $distance];
            }
        }
        return $best === null ? '' : "; did you mean \"$best\"?";
    }
}

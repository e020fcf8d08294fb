<?php

namespace Askr\Laravel\Install;

/** The lines of an .env file: what is not set here stays as it is. */
class EnvFile
{
    public function __construct(private string $text)
    {
    }

    public function __toString(): string
    {
        return $this->text;
    }

    /** A variable's value, with ${OTHERS} in it filled in; null: it is not there, or empty. */
    public function get(string $name): ?string
    {
        return $this->value($name, 0);
    }

    private function value(string $name, int $depth): ?string
    {
        if ($depth > 5 || ! preg_match('/^(?:export )?' . preg_quote($name, '/') . '[ \t]*=[ \t]*(.*)$/m', $this->text, $line)) {
            return null;
        }
        $value = trim($line[1]);
        if (preg_match('/\A"((?:[^"\\\\]|\\\\.)*)"/', $value, $quoted)) {
            $value = stripcslashes($quoted[1]);
        } elseif (preg_match("/\A'([^']*)'/", $value, $quoted)) {
            return $quoted[1] === '' ? null : $quoted[1];
        } else {
            $value = trim(preg_replace('/(\A|\s)#.*/', '', $value));
        }
        $value = preg_replace_callback('/\$\{(\w+)}/', fn ($other) => (string) $this->value($other[1], $depth + 1), $value);
        return $value === '' ? null : $value;
    }

    /** Sets variables where they are, and adds those that are not there as one paragraph at the end. */
    public function set(array $variables): void
    {
        $added = '';
        foreach ($variables as $name => $value) {
            $line = "$name=" . self::quoted($value);
            $there = '/^(?:export )?' . preg_quote($name, '/') . '[ \t]*=.*$/m';
            if (preg_match($there, $this->text)) {
                $this->text = preg_replace_callback($there, fn () => $line, $this->text, 1);
            } else {
                $added .= "$line\n";
            }
        }
        if ($added !== '') {
            $this->text = ($this->text === '' ? '' : rtrim($this->text, "\n") . "\n\n") . $added;
        }
    }

    private static function quoted(string $value): string
    {
        return preg_match('/\A[A-Za-z0-9_.:\/+@,=-]*\z/', $value) ? $value : '"' . addcslashes($value, '"\\') . '"';
    }
}

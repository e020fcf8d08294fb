<?php

namespace Askr\Laravel\Install;

/** Files as they will be. Nothing is written before apply(), so a trial run and a real one are the same until then. */
class Changes
{
    /** @var array<string, array{string, string, ?int}> what a file's change is for, its text, its mode */
    private array $files = [];

    public function __construct(private readonly string $base)
    {
    }

    public function read(string $file): ?string
    {
        return $this->files[$file][1] ?? (is_file("$this->base/$file") ? file_get_contents("$this->base/$file") : null);
    }

    /** @param int|null $mode of the file, where it is not as any other */
    public function write(string $file, string $why, string $text, ?int $mode = null): void
    {
        $this->files[$file] = [$why, $text, $mode];
    }

    /** @return array<string, array{string, string}> what is done to each file, and why */
    public function list(): array
    {
        $list = [];
        foreach ($this->files as $file => [$why, $text]) {
            $path = "$this->base/$file";
            $list[$file] = [is_file($path) ? (file_get_contents($path) === $text ? 'unchanged' : 'change') : 'create', $why];
        }
        return $list;
    }

    /** The first file that cannot be written, so that all are or none is; null: each can. */
    public function refused(): ?string
    {
        foreach ($this->list() as $file => [$what]) {
            $path = "$this->base/$file";
            for ($there = $path; ! file_exists($there); $there = \dirname($there));
            if ($what !== 'unchanged' && ! is_writable($there)) {
                return $path;
            }
        }
        return null;
    }

    public function apply(): void
    {
        foreach ($this->list() as $file => [$what]) {
            if ($what === 'unchanged') {
                continue;
            }
            [, $text, $mode] = $this->files[$file];
            $path = "$this->base/$file";
            if (! is_dir(\dirname($path))) {
                mkdir(\dirname($path), 0755, true);
            }
            if ($mode !== null && ! is_file($path)) {
                // Closed before there is anything in it.
                touch($path);
                chmod($path, $mode);
            }
            if (@file_put_contents($path, $text) === false) {
                throw new \RuntimeException("$path cannot be written: " . (error_get_last()['message'] ?? 'no reason is known'));
            }
        }
    }
}

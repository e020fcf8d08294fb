<?php

// A worker that streams an answer word by word, as a language model does. The text is a canned one: what matters is
// that each word costs a write to memory, and that the ring remembers them for whoever comes later.

declare(strict_types=1);

header('Content-Type: application/json');
header('Cache-Control: no-store');

const TEXT = <<<'TEXT'
An ash tree stands at the well. Whatever happens in the nine worlds is cut into its bark, one line below the other, and
whoever comes by reads from where they stopped the last time. Nobody has to shout, and nobody has to be there at the
moment: the tree remembers. A page that is reloaded in the middle of a sentence finds its beginning, a second tab finds
the same words in the same order, and a daemon that is killed reads on where it was.
TEXT;

/** The text's words, again and again. */
function words(int $count): iterable
{
    $words = preg_split('/\s+/', trim(TEXT));
    for ($n = 0; $n < $count; $n++) {
        yield $n => $words[$n % count($words)];
    }
}

$range = fn (string $name, int $default, int $most) => filter_var($_POST[$name] ?? $default, FILTER_VALIDATE_INT,
    ['options' => ['min_range' => 1, 'max_range' => $most]]);
$count = $range('words', 240, 5_000);
$rate = $range('rate', 25, 2_000);
if ($_SERVER['REQUEST_METHOD'] !== 'POST' || $count === false || $rate === false) {
    http_response_code(400);
    exit(json_encode(['error' => 'POST, and if you like words (1 to 5000) and rate (1 to 2000 a second)']));
}

$id = bin2hex(random_bytes(8));
echo json_encode(['id' => $id]);
// The visitor has the id; the rest is a worker's, as in a queued job.
fastcgi_finish_request();
set_time_limit(0);
ignore_user_abort(true);

$start = hrtime(true);
$text = '';
foreach (words($count) as $n => $word) {
    while (($early = $start + intdiv($n * 1_000_000_000, $rate) - hrtime(true)) > 0) {
        usleep(intdiv($early, 1_000) + 1);
    }
    askr_broadcast("answer.$id", json_encode(['n' => $n, 'word' => $word]), 'word');
    $text .= ($n === 0 ? '' : ' ') . $word;
}
askr_broadcast("answer.$id", json_encode(['words' => $count, 'sha256' => hash('sha256', $text)]), 'end');

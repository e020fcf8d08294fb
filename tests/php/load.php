<?php

// One publisher of the load test. Every event says in its id who published it, its number there, and
// a digest of its data: "publisher.number.digest".

/**
 * Publishes the events FROM … FROM + COUNT - 1 of this publisher. With ACKNOWLEDGED (a file that the
 * subscriber keeps: the last position it has) nobody runs further ahead of the daemon and of the
 * subscriber than the ring holds: after each WINDOW bytes the publisher waits until askrd has read
 * everything published so far, and the subscriber all but the last 2,000 positions.
 */
function publish_load(string $publisher, int $from, int $count, ?string $acknowledged): void
{
    static $pool = null;
    $pool ??= make_pool();
    $ahead = 0;
    for ($n = $from; $n < $from + $count; $n++) {
        $data = load_data($pool, $publisher, $n);
        $digest = substr(hash('sha256', $data), 0, 16);
        if (!askr_broadcast('load', $data, id: "$publisher.$n.$digest")) {
            throw new RuntimeException('not published: ' . json_encode(askr_status()));
        }
        $ahead += strlen($data) + 512;
        if ($acknowledged !== null && ($ahead > 256 * 1024 || $n === $from + $count - 1)) {
            wait_for_readers($acknowledged);
            $ahead = 0;
        }
    }
}

/** Between 1 B and 64 KiB, mostly small, and both ends are met. */
function load_data(string $pool, string $publisher, int $n): string
{
    $random = hexdec(substr(hash('crc32b', "$publisher/$n"), 0, 7)) / 0xfffffff;
    $size = match ($n % 5000) {
        0 => 1,
        1 => 65536,
        default => 1 + (int) (65535 * $random ** 40),
    };
    return substr($pool, ($n * 7919) % 65536, $size);
}

/** 128 KiB of text with line ends in it. */
function make_pool(): string
{
    mt_srand(1);
    $text = '';
    while (strlen($text) < 131072) {
        $text .= base64_encode(hash('sha256', (string) mt_rand(), true)) . (mt_rand(0, 3) === 0 ? "\n" : ' ');
    }
    return substr($text, 0, 131072);
}

function wait_for_readers(string $acknowledged): void
{
    $target = askr_status()['tail'];
    while (askr_status()['daemon_read'] < $target) {
        usleep(200);
    }
    while ($target - (int) file_get_contents($acknowledged) > 2000) {
        usleep(1000);
    }
}

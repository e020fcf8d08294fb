<?php
// Publishes numbered events until it is killed: php publisher.php NAME CHANNEL PER_SECOND. Each number is printed once its event was
// accepted. What cannot be accepted now is tried again, with the same number.
[, $name, $channel, $rate] = $argv;
$pause = (int) (1e6 / $rate);
for ($n = 1; ; $n++) {
    // Some are large enough to lie in the ring's arena.
    $text = str_repeat(chr(97 + $n % 26), $n % 50 === 0 ? 6000 : $n % 300);
    $data = json_encode(['p' => $name, 'n' => $n, 'x' => $text, 'h' => crc32("$name $n $text")]);
    for (;;) {
        try {
            if (askr_broadcast($channel, $data)) {
                break;
            }
        } catch (Askr\Exception $e) {
            fwrite(STDERR, $e->getMessage() . "\n");
        }
        usleep(20_000);
    }
    fwrite(STDOUT, "$n\n");
    usleep($pause);
}

<?php

// state_writer.php ITEMS STOP: changes one of so many items after the other until the file STOP is there, and publishes
// each change after it is committed. Prints how many it made.

require __DIR__ . '/state_database.php';

[, $items, $stop] = $argv;
$database = database();
$count = 0;
while (!file_exists($stop)) {
    $id = random_int(1, (int) $items);
    $database->exec('BEGIN IMMEDIATE');
    $version = 1 + (int) $database->query('SELECT max(version) FROM items')->fetchColumn();
    $database->prepare('INSERT OR REPLACE INTO items VALUES (?, ?)')->execute([$id, $version]);
    $database->exec('COMMIT');
    // After the commit: a page that has an older cursor and reads the state now has both.
    if (!askr_broadcast('items', json_encode(['id' => $id, 'version' => $version]))) {
        throw new RuntimeException('not published: ' . json_encode(askr_status()));
    }
    $count++;
    usleep(2_000);
}
echo $count;

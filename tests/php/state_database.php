<?php

// Items in SQLite, each with the version of its last change; versions count all changes.

function database(): PDO
{
    $database = new PDO('sqlite:' . getenv('STATE_DATABASE'));
    $database->exec('PRAGMA busy_timeout = 30000');
    return $database;
}

/** What a page shows, as of one moment. */
function state(): array
{
    $database = database();
    $database->beginTransaction();
    $version = (int) $database->query('SELECT max(version) FROM items')->fetchColumn();
    $items = $database->query('SELECT id, version FROM items')->fetchAll(PDO::FETCH_KEY_PAIR);
    $database->commit();
    return ['version' => $version, 'items' => (object) array_map('intval', $items)];
}

--TEST--
mercure_publish() publishes to topics, in the CLI too, and returns the id
--INI--
askr.ring=/askr-phpt-mercure
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();

$own = mercure_publish('https://example.com/books/1');
var_dump(preg_match('/^#[0-9a-f]{12}-\d+$/D', $own), $own === '#' . askr_cursor());
var_dump(mercure_publish(['https://example.com/books/2', 'urn:2', 'urn:2'], "a\nb", true, 'urn:uuid:1', 'updated', 5000));
var_dump(mercure_publish(topics: 'urn:3', type: 'named') === '#' . askr_cursor());
var_dump(mercure_publish('urn:4', 'ü', 1) !== '');
$reference = 'urn:5';
var_dump(mercure_publish([&$reference, 'foo', '/books/{id}', 'urn:x:mercure']) !== '');
askr_broadcast('orders', 'for a channel');

foreach (events(6, topics: true) as $event) {
    unset($event['cursor'], $event['published_ns']);
    echo json_encode(array_filter($event, fn ($field) => $field !== null && $field !== []), JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE), "\n";
}
echo "--- who does not ask for topics:\n";
show(1);
var_dump(askr_status()['published']);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-mercure');
?>
--EXPECT--
int(1)
bool(true)
string(10) "urn:uuid:1"
bool(true)
bool(true)
bool(true)
{"topics":["https://example.com/books/1"],"data":""}
{"topics":["https://example.com/books/2","urn:2"],"private":true,"event":"updated","id":"urn:uuid:1","retry":5000,"data":"a\nb"}
{"topics":["urn:3"],"event":"named","data":""}
{"topics":["urn:4"],"private":true,"data":"ü"}
{"topics":["urn:5","foo","/books/{id}","urn:x:mercure"],"data":""}
{"channels":["orders"],"data":"for a channel"}
--- who does not ask for topics:
orders {} for a channel
int(6)

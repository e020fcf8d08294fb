--TEST--
mercure_publish(): what is no topic, id or type is a RuntimeException that names the argument, another type a TypeError
--INI--
askr.ring=/askr-phpt-mercure-error
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();

foreach ([1.5, null, new stdClass()] as $topics) {
    told(fn () => mercure_publish([$topics]));
}
told(fn () => mercure_publish(new stdClass()));
told(fn () => mercure_publish());
told(fn () => mercure_publish('a', private: []));
foreach (['', '*', '?x', '#x', 'mercure', 'mercure/x', '/.well-known/%6dercure/subscriptions', 'https://other.example/.well-known/mercure',
    "a\n", "a\0", "a\u{200b}", "\xff", str_repeat('a', 1025)] as $topic) {
    told(fn () => mercure_publish($topic));
}
told(fn () => mercure_publish([]));
told(fn () => mercure_publish(['a', '*']));
told(fn () => mercure_publish(array_map(fn ($n) => "urn:$n", range(1, 257))));
told(fn () => mercure_publish(array_map(fn ($n) => str_pad("urn:$n", 1024, 'x'), range(1, 33))));
foreach (['', '#1', 'earliest', "a\r", "a\u{ad}", '0123456789ab-42', str_repeat('a', 201)] as $id) {
    told(fn () => mercure_publish('a', id: $id));
}
foreach (['', 'mercure', "a\nb", 'askr:x', str_repeat('a', 201)] as $type) {
    told(fn () => mercure_publish('a', type: $type));
}
told(fn () => mercure_publish('a', "\xff"));
told(fn () => mercure_publish('a', retry: -1));
told(fn () => mercure_publish('a', retry: 4294967296));
told(fn () => strlen(mercure_publish('a', str_repeat('x', askr_status()['max_payload'] + 1))));
echo "--- another path is the hub's\n";
echo php('foreach (["mercure", "/.well-known/mercure", "hub", "/x/hub/y"] as $topic) {
    try { mercure_publish($topic); echo "$topic passes\n"; } catch (RuntimeException $e) { echo "$topic: ", $e->getMessage(), "\n"; }
}', ['askr.mercure_path' => '/x/hub']);
var_dump(askr_status()['published']);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-mercure-error');
?>
--EXPECT--
TypeError: mercure_publish(): Argument #1 ($topics) must be of type array<string>|string, float in the array given
TypeError: mercure_publish(): Argument #1 ($topics) must be of type array<string>|string, null in the array given
TypeError: mercure_publish(): Argument #1 ($topics) must be of type array<string>|string, stdClass in the array given
TypeError: mercure_publish(): Argument #1 ($topics) must be of type array|string, stdClass given
ArgumentCountError: mercure_publish() expects at least 1 argument, 0 given
TypeError: mercure_publish(): Argument #3 ($private) must be of type bool, array given
RuntimeException: mercure_publish(): $topics must not be the hub's own URL, or below it
RuntimeException: mercure_publish(): $topics must not be "*"
RuntimeException: mercure_publish(): $topics must not be the hub's own URL, or below it
RuntimeException: mercure_publish(): $topics must not be the hub's own URL, or below it
RuntimeException: mercure_publish(): $topics must not be the hub's own URL, or below it
RuntimeException: mercure_publish(): $topics must not be the hub's own URL, or below it
RuntimeException: mercure_publish(): $topics must not be the hub's own URL, or below it
RuntimeException: mercure_publish(): $topics must not be the hub's own URL, or below it
RuntimeException: mercure_publish(): $topics must not contain control or format characters
RuntimeException: mercure_publish(): $topics must not contain control or format characters
RuntimeException: mercure_publish(): $topics must not contain control or format characters
RuntimeException: mercure_publish(): $topics must be valid UTF-8
RuntimeException: mercure_publish(): $topics must be at most 1024 bytes long
RuntimeException: mercure_publish(): $topics must have 1 to 256 elements, 0 given
RuntimeException: mercure_publish(): $topics must not be "*"
RuntimeException: mercure_publish(): $topics must have 1 to 256 elements, 257 given
RuntimeException: mercure_publish(): $topics must be at most 32768 bytes long in all
RuntimeException: mercure_publish(): $id cannot be empty
RuntimeException: mercure_publish(): $id must not begin with "#", or be "earliest"
RuntimeException: mercure_publish(): $id must not begin with "#", or be "earliest"
RuntimeException: mercure_publish(): $id must not contain control or format characters
RuntimeException: mercure_publish(): $id must not contain control or format characters
RuntimeException: mercure_publish(): $id must not have the form of a cursor (12 hexadecimal digits, a dash, digits; or a tilde and 8 or more of A-Z, a-z, 0-9, - and _)
RuntimeException: mercure_publish(): $id must be at most 200 bytes long
RuntimeException: mercure_publish(): $type cannot be empty
RuntimeException: mercure_publish(): $type must not be "mercure"
RuntimeException: mercure_publish(): $type must not contain control or format characters
RuntimeException: mercure_publish(): $type must not start with "askr:"
RuntimeException: mercure_publish(): $type must be at most 200 bytes long
RuntimeException: mercure_publish(): $data must be valid UTF-8
RuntimeException: mercure_publish(): $retry must be between 0 and 4294967295 (milliseconds)
RuntimeException: mercure_publish(): $retry must be between 0 and 4294967295 (milliseconds)
RuntimeException: mercure_publish(): the ring /askr-phpt-mercure-error (/dev/shm/askr-phpt-mercure-error) takes payloads of up to 1048576 bytes, this one has 1048577
--- another path is the hub's
mercure passes
/.well-known/mercure passes
hub: mercure_publish(): $topics must not be the hub's own URL, or below it
/x/hub/y: mercure_publish(): $topics must not be the hub's own URL, or below it
int(0)

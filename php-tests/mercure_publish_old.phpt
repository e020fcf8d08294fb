--TEST--
mercure_publish() and an askrd that knows nothing of topics yet: an exception that says so, and channels go on
--INI--
askr.ring=/askr-phpt-mercure-old
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
var_dump(mercure_publish('urn:a', 'x') !== '', askr_broadcast('orders', 'x'));

// Of an older one there is nothing where this one says what it reads (docs/RING.md, "features").
$askrd->stop(SIGKILL);
$ring = fopen(ring_path(), 'r+');
fseek($ring, 0x218);
fwrite($ring, str_repeat("\0", 8));
fclose($ring);

foreach (['in this process', 'in another'] as $where) {
    $publish = 'try { mercure_publish("urn:a", "x"); } catch (RuntimeException $e) { echo $e->getMessage(), "\n"; }
        var_dump(askr_broadcast("orders", "x"));';
    echo "--- $where:\n";
    $where === 'in another' ? print php($publish, ['askr.ring' => ini_get('askr.ring')]) : eval($publish);
}
echo "--- an askr.so that is older has no such function, as this one without it:\n";
echo php('var_dump(function_exists("mercure_publish"), askr_broadcast("orders", "x"));', ['askr.ring' => ini_get('askr.ring'), 'askr.mercure' => '0']);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-mercure-old');
?>
--EXPECTF--
bool(true)
bool(true)
--- in this process:
mercure_publish(): %s(topic)%s
bool(true)
--- in another:
mercure_publish(): %s(topic)%s
bool(true)
--- an askr.so that is older has no such function, as this one without it:
bool(false)
bool(true)

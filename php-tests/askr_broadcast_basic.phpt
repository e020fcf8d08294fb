--TEST--
askr_broadcast() puts an event with all its fields into the ring
--INI--
askr.ring=/askr-phpt-basic
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();

var_dump(askr_broadcast('orders', 'hello'));
var_dump(askr_broadcast('orders.42', '{"état":"prêt"}', 'order.shipped', 'order-42', 5000, '123.456'));
var_dump(askr_broadcast(['a', 'b'], ''));

$status = askr_status();
echo $status['published'], ' published, ', array_sum($status['failures']), " failed\n";
show(3);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-basic');
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
3 published, 0 failed
orders {} hello
orders.42 {"event":"order.shipped","id":"order-42","retry":5000,"except":"123.456"} {"état":"prêt"}
a, b {} 

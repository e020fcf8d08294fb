--TEST--
askr_broadcast() sends to each channel of an array once and leaves the array alone
--INI--
askr.ring=/askr-phpt-channels
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();

$channels = ['x' => 'b', 3 => 'a', 'y' => 'b', 'a'];
var_dump(askr_broadcast($channels, 'twice named'));

$shared = 'by reference';
$mixed = ['plain', &$shared, 5, 5.0, '5'];
var_dump(askr_broadcast($mixed, 'converted'));
var_dump($mixed);

$hundred = array_map(fn ($n) => str_pad("channel-$n-", 200, 'x'), range(1, 100));
var_dump(strlen($hundred[0]), askr_broadcast($hundred, 'the longest head'));
unset($channels['x'], $channels[3]);
var_dump(askr_broadcast($channels, 'with holes'));
var_dump(askr_broadcast(['été', '日本', '🎉', 'a b', '#x'], 'UTF-8'));

[$one, $two, $three, $four, $five] = events(5);
foreach ([$one, $two, $four, $five] as $event) {
    echo implode('|', $event['channels']), ' ', $event['data'], "\n";
}
var_dump($three['channels'] === $hundred);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-channels');
?>
--EXPECT--
bool(true)
bool(true)
array(5) {
  [0]=>
  string(5) "plain"
  [1]=>
  &string(12) "by reference"
  [2]=>
  int(5)
  [3]=>
  float(5)
  [4]=>
  string(1) "5"
}
int(200)
bool(true)
bool(true)
bool(true)
b|a twice named
plain|by reference|5 converted
b|a with holes
été|日本|🎉|a b|#x UTF-8
bool(true)

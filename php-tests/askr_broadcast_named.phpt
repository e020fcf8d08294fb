--TEST--
askr_broadcast() takes named arguments, and callbacks and unpacked arrays of them
--INI--
askr.ring=/askr-phpt-named
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();

var_dump(askr_broadcast(payload: 'swapped', channel: 'a'));
var_dump(askr_broadcast('a', 'last one', except: '1.2'));
var_dump(askr_broadcast('a', 'middle one', retry: 10));
var_dump(askr_broadcast('a', 'nulls', null, null, null, null));
var_dump(askr_broadcast(...['channel' => ['a', 'b'], 'payload' => 'unpacked', 'event' => 'e']));
var_dump(call_user_func_array('askr_broadcast', ['a', 'called', 'id' => 'i']));
var_dump(array_map(askr_broadcast(...), ['a', 'b'], ['mapped 1', 'mapped 2']));
told(fn () => askr_broadcast('a', 'x', nothing: 1));
told(fn () => askr_broadcast(payload: 'x'));
told(fn () => askr_broadcast('a', 'x', channel: 'b'));
show(8);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-named');
?>
--EXPECT--
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
bool(true)
array(2) {
  [0]=>
  bool(true)
  [1]=>
  bool(true)
}
Error: Unknown named parameter $nothing
ArgumentCountError: askr_broadcast(): Argument #1 ($channel) not passed
Error: Named parameter $channel overwrites previous argument
a {} swapped
a {"except":"1.2"} last one
a {"retry":10} middle one
a {} nulls
a, b {"event":"e"} unpacked
a {"id":"i"} called
a {} mapped 1
b {} mapped 2

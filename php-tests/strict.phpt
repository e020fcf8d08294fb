--TEST--
Strict mode: an event that is not registered, or none, is refused and the nearest name told
--INI--
askr.ring=/askr-phpt-strict
askr.strict=1
askr.events="order.shipped, order.paid"
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();
$names = fn () => implode(' ', askr_events());
$publish = fn (?string $event) => fn () => askr_broadcast('a', 'x', $event);
echo $names(), "\n";
told($publish('order.shipped'));
told($publish('order.shiped'));
told($publish('Order.Paid'));
told($publish('something.else'));
told($publish(null));
told($publish(''));
told(fn () => askr_broadcast_all([['channel' => 'a', 'payload' => 'x', 'event' => 'order.paid'], ['channel' => 'a', 'payload' => 'x']]));
told(fn () => askr_broadcast_all([['channel' => 'a', 'payload' => 'x', 'event' => 'order.piad']]));
echo askr_status()['published'], " published\n";

echo "--- registered\n";
var_dump(askr_register_event('user.joined', 'App\Events\UserLeft', 'order.paid', 'with space'));
askr_register_event(...['user.joined']);
askr_register_event();
echo $names(), "\n";
told($publish('user.joined'));
told($publish('with space'));
told($publish('user.joind'));
told(fn () => askr_register_event('fine', ''));
told(fn () => askr_register_event("a\nb"));
told(fn () => askr_register_event('pusher:x'));
told(fn () => askr_register_event([]));
told(fn () => askr_register_event(name: 'x'));
told(fn () => askr_register_event(new class { public function __toString(): string { throw new LogicException('no'); } }));
told(fn () => askr_register_event(...array_map(strval(...), range(1, 1000))));
told(fn () => askr_events(1));
echo $names(), "\n";

echo "--- at run time\n";
ini_set('askr.strict', '0');
told($publish('whatever'));
told($publish(null));
ini_set('askr.strict', '1');
ini_set('askr.events', "only\nthese");
echo $names(), "\n";
told($publish('order.shipped'));
told($publish('only'));
var_dump(ini_set('askr.events', 'fine pusher:x'), ini_set('askr.strict', 'maybe'), ini_get('askr.events'));
var_dump(@ini_set('askr.events', implode(',', range(1, 1001))), count(askr_events()));
ini_restore('askr.events');
echo $names(), "\n";
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-strict');
?>
--EXPECTF--
order.paid order.shipped
true
ValueError: askr_broadcast(): Argument #3 ($event) must be a registered event while askr.strict = 1, "order.shiped" is not; did you mean "order.shipped"?
ValueError: askr_broadcast(): Argument #3 ($event) must be a registered event while askr.strict = 1, "Order.Paid" is not; did you mean "order.paid"?
ValueError: askr_broadcast(): Argument #3 ($event) must be a registered event while askr.strict = 1, "something.else" is not, nor one that is nearly the same
ValueError: askr_broadcast(): Argument #3 ($event) must be a registered event while askr.strict = 1, none given
ValueError: askr_broadcast(): Argument #3 ($event) cannot be empty
ValueError: askr_broadcast_all(): Argument #1 ($events) element 1: "event" must be a registered event while askr.strict = 1, none given
ValueError: askr_broadcast_all(): Argument #1 ($events) element 0: "event" must be a registered event while askr.strict = 1, "order.piad" is not; did you mean "order.paid"?
1 published
--- registered
NULL
App\Events\UserLeft order.paid order.shipped user.joined with space
true
true
ValueError: askr_broadcast(): Argument #3 ($event) must be a registered event while askr.strict = 1, "user.joind" is not; did you mean "user.joined"?
ValueError: askr_register_event(): Argument #2 cannot be empty
ValueError: askr_register_event(): Argument #1 must not contain CR, LF or NUL bytes
ValueError: askr_register_event(): Argument #1 must not start with "pusher:"
TypeError: askr_register_event(): Argument #1 must be of type string, array given
ArgumentCountError: %Saskr_register_event() does not accept %s
LogicException: no
ValueError: askr_register_event(): Argument #997 must be at most 1000 names of 65536 bytes in all
ArgumentCountError: askr_events() expects exactly 0 arguments, 1 given
App\Events\UserLeft order.paid order.shipped user.joined with space
--- at run time
true
true
App\Events\UserLeft only order.paid these user.joined with space
ValueError: askr_broadcast(): Argument #3 ($event) must be a registered event while askr.strict = 1, "order.shipped" is not; did you mean "order.paid"?
true

Warning: ini_set(): askr.events must be names of events, separated by commas or spaces: "pusher:x" must not start with "pusher:" in %s on line %d

Warning: ini_set(): askr.strict must be 1 (on) or 0 (off) in %s on line %d
bool(false)
bool(false)
string(10) "only
these"
bool(false)
int(6)
App\Events\UserLeft order.paid order.shipped user.joined with space

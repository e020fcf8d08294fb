--TEST--
Strict mode is off by default; it also counts while Askr is disabled; bad settings keep the default
--INI--
askr.ring=/askr-phpt-strict-settings
--FILE--
<?php
require __DIR__ . '/ring.inc';
$code = 'echo ini_get("askr.strict"), " ", implode("|", askr_events()), "\n";
    try { var_dump(askr_broadcast("a", "x", "order")); } catch (ValueError $e) { echo $e->getMessage(), "\n"; }';
$off = ['askr.enabled' => '0'];
foreach ([[], ['askr.strict' => '1'], ['askr.strict' => 'On', 'askr.events' => 'order,'], ['askr.events' => 'ordre'],
    ['askr.strict' => 'yes', 'askr.events' => 'ordre'], ['askr.strict' => '2'], ['askr.events' => 'askr:x order'],
    ['askr.events' => str_repeat('n', 201)], ['askr.events' => implode(' ', range(1, 1001))]] as $ini) {
    echo php($code, $ini + $off);
}
?>
--EXPECTF--
0 
bool(false)
1 
askr_broadcast(): Argument #3 ($event) must be a registered event while askr.strict = 1, "order" is not, nor one that is nearly the same
On order
bool(false)
0 ordre
bool(false)
yes ordre
askr_broadcast(): Argument #3 ($event) must be a registered event while askr.strict = 1, "order" is not; did you mean "ordre"?

Warning: PHP Startup: askr.strict must be 1 (on) or 0 (off) in %s on line %d
0 
bool(false)

Warning: PHP Startup: askr.events must be names of events, separated by commas or spaces: "askr:x" must not start with "askr:" in %s on line %d
0 
bool(false)

Warning: PHP Startup: askr.events must be names of events, separated by commas or spaces: "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" must be at most 200 bytes long in %s on line %d
0 
bool(false)

Warning: PHP Startup: askr.events must be at most 1000 names of 65536 bytes in all in %s on line %d
0 
bool(false)

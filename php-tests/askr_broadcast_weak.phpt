--TEST--
askr_broadcast() coerces arguments in weak mode as core functions do
--INI--
askr.ring=/askr-phpt-weak
--FILE--
<?php
require __DIR__ . '/ring.inc';
$askrd = new Askrd();

final class Channel
{
    public function __construct(private string $name) {}
    public function __toString(): string { return $this->name; }
}

var_dump(askr_broadcast(7, 42));
var_dump(askr_broadcast(1.5, true, 12, 3.25, '10'));
var_dump(askr_broadcast(new Channel('private-orders'), new Channel('payload'), new Channel('event'), new Channel('id'), 20.0, new Channel('1.2')));
var_dump(askr_broadcast('a', 'from a float with a fraction', retry: 1.5));
var_dump(askr_broadcast('a', null));
$name = 'referenced';
$reference = &$name;
var_dump(askr_broadcast($reference, $reference));
show(6);
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-weak');
?>
--EXPECTF--
bool(true)
bool(true)
bool(true)

Deprecated: Implicit conversion from float 1.5 to int loses precision in %s on line %d
bool(true)

Deprecated: askr_broadcast(): Passing null to parameter #2 ($payload) of type string is deprecated in %s on line %d
bool(true)
bool(true)
7 {} 42
1.5 {"event":"12","id":"3.25","retry":10} 1
private-orders {"event":"event","id":"id","retry":20,"except":"1.2"} payload
a {"retry":1} from a float with a fraction
a {} 
referenced {} referenced

--TEST--
Settings: a bad value keeps the default and is told with its key and what is allowed
--INI--
askr.ring=/askr-phpt-ini
--FILE--
<?php
require __DIR__ . '/ring.inc';

$show = <<<'CODE'
    foreach (["ring", "enabled", "on_failure", "ring_owner"] as $key) echo $key, "=", ini_get("askr.$key"), " ";
    $status = askr_status();
    echo "| ", $status["ring"], " ", $status["enabled"] ? "enabled" : "disabled", "\n";
CODE;
// Without any setting it looks for the ring /askr, which a machine with askrd has.
echo php('$status = askr_status(); var_dump($status["attached"] || str_contains($status["reason"],
    "the ring /askr (/dev/shm/askr) does not exist"));', ['askr.ring' => '/askr']);
$long = str_repeat('a', 200);
$cases = [
    [], ['ring' => 'askr'], ['ring' => ''], ['ring' => '/a/../b'], ['ring' => "/$long"], ['ring' => "/\xff"],
    ['enabled' => '2'], ['enabled' => 'maybe'], ['on_failure' => 'LOG'], ['on_failure' => ''],
    ['ring_owner' => 'two words'], ['ring_owner' => substr($long, 0, 33)],
    ['ring_group' => 'two words'], ['ring_group' => substr($long, 0, 33)],
    ['ring' => '/askr-phpt-ini', 'enabled' => 'No', 'on_failure' => 'exception', 'ring_owner' => 'www-data'],
    ['ring' => '/run/askr/ring', 'enabled' => 'TRUE', 'ring_owner' => '1000'],
];
foreach ($cases as $case) {
    $ini = ['askr.ring' => '/askr'];
    foreach ($case as $key => $value) {
        $ini["askr.$key"] = $value;
    }
    echo php($show, $ini);
}

echo "--- at run time\n";
foreach (['ring' => '/other', 'enabled' => '0', 'ring_owner' => 'root', 'on_failure' => 'silent'] as $key => $value) {
    echo $key, ' ', var_export(ini_set("askr.$key", $value), true), ' ', ini_get("askr.$key"), "\n";
}
var_dump(ini_set('askr.on_failure', 'never'), ini_get('askr.on_failure'));
ini_restore('askr.on_failure');
var_dump(ini_get('askr.on_failure'), askr_status()['ring']);
?>
--EXPECTF--
bool(true)
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.ring must be a shared-memory name such as "/askr" or an absolute path such as "/run/askr/ring", at most 200 bytes, without control characters, ".." or a slash at the end in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.ring must be a shared-memory name such as "/askr" or an absolute path such as "/run/askr/ring", at most 200 bytes, without control characters, ".." or a slash at the end in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.ring must be a shared-memory name such as "/askr" or an absolute path such as "/run/askr/ring", at most 200 bytes, without control characters, ".." or a slash at the end in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.ring must be a shared-memory name such as "/askr" or an absolute path such as "/run/askr/ring", at most 200 bytes, without control characters, ".." or a slash at the end in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.ring must be valid UTF-8 in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.enabled must be 1 (on) or 0 (off) in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.enabled must be 1 (on) or 0 (off) in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.on_failure must be one of "silent", "log", "warning" or "exception" in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.on_failure must be one of "silent", "log", "warning" or "exception" in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.ring_owner must be empty, a user's name of at most 32 bytes, or a user's id in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.ring_owner must be empty, a user's name of at most 32 bytes, or a user's id in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.ring_group must be empty, a group's name of at most 32 bytes, or a group's id in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled

Warning: PHP Startup: askr.ring_group must be empty, a group's name of at most 32 bytes, or a group's id in Unknown on line 0
ring=/askr enabled=1 on_failure=log ring_owner= | /askr enabled
ring=/askr-phpt-ini enabled=No on_failure=exception ring_owner=www-data | /askr-phpt-ini disabled
ring=/run/askr/ring enabled=TRUE on_failure=log ring_owner=1000 | /run/askr/ring enabled
--- at run time
ring false /askr-phpt-ini
enabled false 1
ring_owner false 
on_failure 'log' silent

Warning: ini_set(): askr.on_failure must be one of "silent", "log", "warning" or "exception" in %s on line %d
bool(false)
string(6) "silent"
string(3) "log"
string(14) "/askr-phpt-ini"

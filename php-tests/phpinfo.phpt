--TEST--
phpinfo() shows version, ring and settings: attached, missing, disabled
--INI--
askr.ring=/askr-phpt-phpinfo
--FILE--
<?php
require __DIR__ . '/ring.inc';
$info = '(new ReflectionExtension("askr"))->info();';
echo php($info);
$askrd = new Askrd();
echo php($info);
echo php($info, ['askr.enabled' => 'off', 'askr.on_failure' => 'silent', 'askr.ring_owner' => 'deploy', 'askr.control' => '']);
// Also as one of all extensions.
echo str_contains(php('phpinfo(INFO_MODULES);'), "Askr support => enabled\n") ? "in phpinfo()\n" : "not in phpinfo()\n";
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-phpinfo');
?>
--EXPECTF--
askr

Askr support => enabled
Version => %d.%d.%d
Ring => not attached: the ring /askr-phpt-phpinfo (/dev/shm/askr-phpt-phpinfo) does not exist; is askrd running?
Daemon (askrd) => not seen
Largest payload => unknown

Directive => Local Value => Master Value
askr.ring => /askr-phpt-phpinfo => /askr-phpt-phpinfo
askr.enabled => 1 => 1
askr.on_failure => log => log
askr.ring_owner => no value => no value
askr.ring_group => no value => no value
askr.secret_file => no value => no value
askr.control => /run/askr/control.sock => /run/askr/control.sock
askr.events => no value => no value
askr.strict => 0 => 0
askr.mercure => 1 => 1
askr.mercure_path => /.well-known/mercure => /.well-known/mercure

askr

Askr support => enabled
Version => %d.%d.%d
Ring => attached to /askr-phpt-phpinfo
Daemon (askrd) => running
Largest payload => 1048576 bytes

Directive => Local Value => Master Value
askr.ring => /askr-phpt-phpinfo => /askr-phpt-phpinfo
askr.enabled => 1 => 1
askr.on_failure => log => log
askr.ring_owner => no value => no value
askr.ring_group => no value => no value
askr.secret_file => no value => no value
askr.control => /run/askr/control.sock => /run/askr/control.sock
askr.events => no value => no value
askr.strict => 0 => 0
askr.mercure => 1 => 1
askr.mercure_path => /.well-known/mercure => /.well-known/mercure

askr

Askr support => disabled
Version => %d.%d.%d
Ring => not attached: disabled by askr.enabled = 0
Daemon (askrd) => not seen
Largest payload => unknown

Directive => Local Value => Master Value
askr.ring => /askr-phpt-phpinfo => /askr-phpt-phpinfo
askr.enabled => off => off
askr.on_failure => silent => silent
askr.ring_owner => deploy => deploy
askr.ring_group => no value => no value
askr.secret_file => no value => no value
askr.control => no value => no value
askr.events => no value => no value
askr.strict => 0 => 0
askr.mercure => 1 => 1
askr.mercure_path => /.well-known/mercure => /.well-known/mercure
in phpinfo()

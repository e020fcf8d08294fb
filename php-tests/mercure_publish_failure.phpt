--TEST--
mercure_publish() and a ring that is away: an exception, unless askr.on_failure is set to silent or log
--FILE--
<?php
require __DIR__ . '/ring.inc';

$publish = 'try { var_dump(mercure_publish("urn:a", "x")); } catch (Throwable $e) { echo $e::class, ": ", $e->getMessage(), "\n"; }';
$ini = ['askr.ring' => '/askr-phpt-mercure-away', 'log_errors' => '1'];
echo "--- not set:\n", php($publish, $ini);
foreach (['silent', 'log', 'warning', 'exception'] as $policy) {
    echo "--- $policy:\n", php($publish, $ini + ['askr.on_failure' => $policy]);
}
echo "--- set by the script, and taken back:\n";
echo php("ini_set('askr.on_failure', 'log'); $publish ini_restore('askr.on_failure'); $publish", $ini);
echo "--- disabled:\n", php($publish, $ini + ['askr.enabled' => '0']);
echo php('try { mercure_publish("*"); } catch (RuntimeException $e) { echo $e->getMessage(), "\n"; }', $ini + ['askr.enabled' => '0']);
echo "--- without the function:\n";
echo php('var_dump(function_exists("mercure_publish"), in_array("mercure_publish", get_extension_funcs("askr")), function_exists("askr_broadcast"));',
    $ini + ['askr.mercure' => '0']);
echo php('var_dump(ini_set("askr.mercure", "0"), ini_get("askr.mercure_path"));', $ini + ['askr.mercure_path' => 'hub']);
?>
--EXPECT--
--- not set:
RuntimeException: mercure_publish(): the ring /askr-phpt-mercure-away (/dev/shm/askr-phpt-mercure-away) does not exist; is askrd running?
--- silent:
string(0) ""
--- log:
mercure_publish(): event not published: the ring /askr-phpt-mercure-away (/dev/shm/askr-phpt-mercure-away) does not exist; is askrd running?
string(0) ""
--- warning:
RuntimeException: mercure_publish(): the ring /askr-phpt-mercure-away (/dev/shm/askr-phpt-mercure-away) does not exist; is askrd running?
--- exception:
RuntimeException: mercure_publish(): the ring /askr-phpt-mercure-away (/dev/shm/askr-phpt-mercure-away) does not exist; is askrd running?
--- set by the script, and taken back:
mercure_publish(): event not published: the ring /askr-phpt-mercure-away (/dev/shm/askr-phpt-mercure-away) does not exist; is askrd running?
string(0) ""
RuntimeException: mercure_publish(): the ring /askr-phpt-mercure-away (/dev/shm/askr-phpt-mercure-away) does not exist; is askrd running?
--- disabled:
string(0) ""
mercure_publish(): $topics must not be "*"
--- without the function:
bool(false)
bool(false)
bool(true)
PHP Warning:  PHP Startup: askr.mercure_path must be a path such as "/.well-known/mercure", without a slash at the end in Unknown on line 0

Warning: PHP Startup: askr.mercure_path must be a path such as "/.well-known/mercure", without a slash at the end in Unknown on line 0
bool(false)
string(20) "/.well-known/mercure"

--TEST--
askr.stub.php says what the extension declares
--INI--
askr.ring=/askr-phpt-stub
--FILE--
<?php
require __DIR__ . '/ring.inc';

$describe = <<<'CODE'
    $type = fn (?ReflectionType $type) => (string) $type;
    foreach (['askr_broadcast', 'askr_broadcast_all', 'askr_register_event', 'askr_events', 'askr_cursor', 'askr_status', 'askr_token', 'askr_channels', 'askr_members', 'askr_disconnect',
        'askr_disconnect_user', 'askr_disconnect_socket', 'askr_history', 'askr_forget', 'mercure_publish'] as $name) {
        $function = new ReflectionFunction($name);
        echo $name, ': ', $type($function->getReturnType()), ', ', $function->getNumberOfRequiredParameters(), " required\n";
        foreach ($function->getParameters() as $p) {
            echo '  ', $p->getType()::class, ' ', $type($p->getType()), ' $', $p->getName();
            echo $p->isDefaultValueAvailable() ? ' = ' . var_export($p->getDefaultValue(), true) : '';
            echo $p->isPassedByReference() ? ' by reference' : '', $p->isVariadic() ? ' variadic' : '', "\n";
        }
    }
    $class = new ReflectionClass('Askr\Exception');
    echo $class->getName(), ' extends ', $class->getParentClass()->getName(), ', ';
    echo $class->isFinal() ? 'final' : 'open', ', ', count($class->getMethods()), " methods\n";
CODE;

$stub = dirname(__DIR__) . '/ext/askr.stub.php';
$out = tmpfile();
proc_close(proc_open([PHP_BINARY, '-n', '-r', 'require $argv[1];' . $describe, $stub], [1 => $out, 2 => $out], $_));
rewind($out);
$declared = stream_get_contents($out);
$built = php($describe);
echo $built;
echo $declared === $built ? "the stub agrees\n" : "the stub says:\n$declared";

// Nothing else is declared.
$extension = new ReflectionExtension('askr');
echo implode(' ', array_keys($extension->getFunctions())), ' ', implode(' ', $extension->getClassNames()), ' ',
    implode(' ', array_keys($extension->getINIEntries())), "\n";

// The keys of askr_status(), their order and their types.
$askrd = new Askrd();
preg_match_all('/^     \*     (\w+): ([\w<>, |]+),$/m', file_get_contents($stub), $documented, PREG_SET_ORDER);
$types = ['boolean' => 'bool', 'integer' => 'int', 'double' => 'float', 'string' => 'string', 'NULL' => 'null', 'array' => 'array<string, int>'];
$status = askr_status();
var_dump(array_keys($status) === array_column($documented, 1));
foreach ($documented as [, $key, $type]) {
    $found = is_array($status[$key]) && array_is_list($status[$key]) ? 'list<string>' : $types[gettype($status[$key])];
    if (!in_array($found, explode('|', $type), true)) {
        echo "$key is $found, documented as $type\n";
    }
}
preg_match('/by reason: ([^.]+)\./', file_get_contents($stub), $reasons);
var_dump(preg_split('/[,\s*]+/', $reasons[1]) === array_keys($status['failures']));
?>
--CLEAN--
<?php
require __DIR__ . '/ring.inc';
clean('/askr-phpt-stub');
?>
--EXPECT--
askr_broadcast: bool, 2 required
  ReflectionUnionType array|string $channel
  ReflectionNamedType string $payload
  ReflectionNamedType ?string $event = NULL
  ReflectionNamedType ?string $id = NULL
  ReflectionNamedType ?int $retry = NULL
  ReflectionNamedType ?string $except = NULL
  ReflectionNamedType ?string $key = NULL
askr_broadcast_all: int, 1 required
  ReflectionNamedType array $events
askr_register_event: void, 0 required
  ReflectionNamedType string $names variadic
askr_events: array, 0 required
askr_cursor: ?string, 0 required
askr_status: array, 0 required
askr_token: string, 2 required
  ReflectionNamedType array $channels
  ReflectionNamedType int $ttl
  ReflectionNamedType ?string $user = NULL
  ReflectionNamedType ?array $info = NULL
  ReflectionNamedType ?array $patterns = NULL
askr_channels: array, 0 required
  ReflectionNamedType ?string $prefix = NULL
askr_members: array, 1 required
  ReflectionNamedType string $channel
askr_disconnect: int, 1 required
  ReflectionNamedType string $socketOrUser
askr_disconnect_user: int, 1 required
  ReflectionNamedType string $user
askr_disconnect_socket: int, 1 required
  ReflectionNamedType string $socketId
askr_history: array, 1 required
  ReflectionNamedType string $channel
  ReflectionNamedType int $limit = 100
  ReflectionNamedType ?string $since = NULL
  ReflectionNamedType ?string $before = NULL
askr_forget: int, 1 required
  ReflectionNamedType string $channel
mercure_publish: string, 1 required
  ReflectionUnionType array|string $topics
  ReflectionNamedType string $data = ''
  ReflectionNamedType bool $private = false
  ReflectionNamedType ?string $id = NULL
  ReflectionNamedType ?string $type = NULL
  ReflectionNamedType ?int $retry = NULL
Askr\Exception extends Exception, open, 10 methods
the stub agrees
askr_broadcast askr_broadcast_all askr_register_event askr_events askr_cursor askr_status askr_token askr_channels askr_members askr_disconnect askr_disconnect_user askr_disconnect_socket askr_history askr_forget mercure_publish Askr\Exception askr.ring askr.enabled askr.on_failure askr.ring_owner askr.ring_group askr.secret_file askr.control askr.events askr.strict askr.mercure askr.mercure_path
bool(true)
bool(true)

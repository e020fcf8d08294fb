--TEST--
A "*" in a channel is a "*", whatever an application puts together; only a pattern stands for others
--FILE--
<?php
require __DIR__ . '/ring.inc';
$file = tempnam(sys_get_temp_dir(), 'askr');
chmod($file, 0600);
file_put_contents($file, str_repeat('5ecret', 6));
echo php(<<<'CODE'
    function told(array $channels, ?array $patterns = null): void {
        [, $claims] = explode('.', askr_token($channels, 60, patterns: $patterns));
        $claims = json_decode(base64_decode(strtr($claims, '-_', '+/'), true), true);
        unset($claims['iat'], $claims['exp']);
        echo json_encode($claims, JSON_UNESCAPED_SLASHES), "\n";
    }
    $name = '*';
    told(["private-user.$name"]);
    told(['private-a', "private-user.$name", '*', 'private-*-b', 'private-**']);
    told([], ["private-user.*"]);
    told(["private-user.$name"], ['presence-team.*', new class { public function __toString(): string { return 'private-*'; } }]);
    told([], []);
    told([new class { public function __toString(): string { return 'private-*'; } }]);
CODE, ['askr.secret_file' => $file, 'askr.ring' => '/askr-phpt-patterns']);
unlink($file);
?>
--EXPECT--
{"channels":[],"exact_channels":["private-user.*"]}
{"channels":["private-a","private-*-b"],"exact_channels":["private-user.*","*","private-**"]}
{"channels":["private-user.*"]}
{"channels":["presence-team.*","private-*"],"exact_channels":["private-user.*"]}
{"channels":[]}
{"channels":[],"exact_channels":["private-*"]}

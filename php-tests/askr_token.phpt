--TEST--
askr_token() signs what it was asked to, by the newest secret of the file; the secret is never shown
--FILE--
<?php
require __DIR__ . '/ring.inc';
$file = tempnam(sys_get_temp_dir(), 'askr');
chmod($file, 0600);
$secret = str_repeat('5ecret', 6);
$old = str_repeat('older', 6);
$ini = ['askr.secret_file' => $file, 'askr.ring' => '/askr-phpt-token'];

$decode = <<<'CODE'
    function read(string $token, string $secret): void {
        [$header, $claims, $signature] = explode('.', $token);
        $bytes = fn ($part) => base64_decode(strtr($part, '-_', '+/'), true);
        $claims = json_decode($bytes($claims), true);
        echo $bytes($header), ' ', hash_equals(hash_hmac('sha256', substr($token, 0, strrpos($token, '.')), $secret, true), $bytes($signature)) ? 'right' : 'WRONG', ' ';
        echo abs($claims['iat'] - time()) < 60 ? 'now ' : 'NOT NOW ', $claims['exp'] - $claims['iat'], ' ';
        unset($claims['iat'], $claims['exp']);
        echo json_encode($claims, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE), "\n";
    }
CODE;
file_put_contents($file, "# a comment\nk2 $secret\n$old\n");
echo php("$decode
    read(askr_token(['private-a'], 60, '7', ['name' => 'Æ/\"'], ['presence-b.*']), '$secret');
    read(askr_token([], 2678400), '$secret');
    read(askr_token(channels: [], ttl: 1, info: [1], patterns: ['*']), '$secret');
    file_put_contents('$file', '$old');
    read(askr_token(['a'], 1), '$old');
    ob_start(); phpinfo(INFO_MODULES); var_dump(askr_status()); \$shown = ob_get_clean();
    var_dump(str_contains(\$shown, 'secret_file'), str_contains(\$shown, '$secret'), str_contains(\$shown, '$old'));", $ini);

echo "--- no secret\n";
$sign = 'try { askr_token(["a"], 1); echo "SIGNED\n"; } catch (Askr\Exception $e) { echo $e->getMessage(), "\n"; }';
$tell = fn (array $ini) => print(str_replace($file, 'FILE', php($sign, $ini + ['askr.ring' => '/askr-phpt-token'])));
$tell([]);
chmod($file, 0644);
$tell($ini);
chmod($file, 0600);
file_put_contents($file, 'short');
$tell($ini);
unlink($file);
$tell($ini);
var_dump(ini_set('askr.secret_file', '/etc/passwd'));
?>
--EXPECT--
{"alg":"HS256","typ":"JWT","kid":"k2"} right now 60 {"channels":["private-a","presence-b.*"],"sub":"7","info":{"name":"Æ/\""}}
{"alg":"HS256","typ":"JWT","kid":"k2"} right now 2678400 {"channels":[]}
{"alg":"HS256","typ":"JWT","kid":"k2"} right now 1 {"channels":["*"],"info":[1]}
{"alg":"HS256","typ":"JWT"} right now 1 {"channels":["a"]}
bool(true)
bool(false)
bool(false)
--- no secret
askr.secret_file is not set
askr.secret_file: FILE: must not be open to everybody (its mode is 0644): chmod o= it
askr.secret_file: FILE: line 1: a secret must be 20 to 512 bytes long
askr.secret_file: FILE: cannot be read: No such file or directory (os error 2)
bool(false)

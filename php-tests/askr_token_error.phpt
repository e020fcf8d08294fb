--TEST--
askr_token() refuses bad arguments as core functions do
--FILE--
<?php
require __DIR__ . '/ring.inc';
told(fn () => askr_token());
told(fn () => askr_token('a', 1));
told(fn () => askr_token(['a'], 'x'));
told(fn () => askr_token(['a'], 1, []));
told(fn () => askr_token(['a'], 1, null, 'x'));
foreach ([0, -1, 2678401] as $ttl) {
    told(fn () => askr_token(['a'], $ttl));
}
told(fn () => askr_token([1], 1));
told(fn () => askr_token([''], 1));
told(fn () => askr_token(["a\n"], 1));
told(fn () => askr_token(["\xff"], 1));
told(fn () => askr_token(array_fill(0, 101, 'a'), 1));
told(fn () => askr_token(['a'], 1, ''));
told(fn () => askr_token(['a'], 1, str_repeat('u', 129)));
told(fn () => askr_token(['a'], 1, null, [str_repeat('i', 1024)]));
told(fn () => askr_token(['a'], 1, null, ["\xff"]));
told(fn () => askr_token(['a'], 1, null, json_decode(str_repeat('[', 120) . str_repeat(']', 120))));
told(fn () => askr_token(['a'], 1, null, [new class implements JsonSerializable {
    public function jsonSerialize(): mixed { throw new LogicException('no'); }
}]));
?>
--EXPECT--
ArgumentCountError: askr_token() expects at least 2 arguments, 0 given
TypeError: askr_token(): Argument #1 ($channels) must be of type array, string given
TypeError: askr_token(): Argument #2 ($ttl) must be of type int, string given
TypeError: askr_token(): Argument #3 ($user) must be of type ?string, array given
TypeError: askr_token(): Argument #4 ($info) must be of type ?array, string given
ValueError: askr_token(): Argument #2 ($ttl) must be between 1 and 2678400 (seconds)
ValueError: askr_token(): Argument #2 ($ttl) must be between 1 and 2678400 (seconds)
ValueError: askr_token(): Argument #2 ($ttl) must be between 1 and 2678400 (seconds)
TypeError: askr_token(): Argument #1 ($channels) must be an array of strings
ValueError: askr_token(): Argument #1 ($channels) cannot be empty
ValueError: askr_token(): Argument #1 ($channels) must not contain control characters
ValueError: askr_token(): Argument #1 ($channels) must be valid UTF-8
ValueError: askr_token(): Argument #1 ($channels) must have at most 100 elements, 101 given
ValueError: askr_token(): Argument #3 ($user) cannot be empty
ValueError: askr_token(): Argument #3 ($user) must be at most 128 bytes long
ValueError: askr_token(): Argument #4 ($info) must be at most 1024 bytes long as JSON, 1028 given
ValueError: askr_token(): Argument #4 ($info) must have a form in JSON, of at most 119 levels
ValueError: askr_token(): Argument #4 ($info) must have a form in JSON, of at most 119 levels
LogicException: no

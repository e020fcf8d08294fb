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
told(fn () => askr_token([], 1, patterns: 'a*'));
told(fn () => askr_token([], 1, patterns: [1]));
told(fn () => askr_token([], 1, patterns: ['']));
told(fn () => askr_token([], 1, patterns: ["a\n*"]));
told(fn () => askr_token([], 1, patterns: ["\xff*"]));
told(fn () => askr_token([], 1, patterns: ['pusher:*']));
told(fn () => askr_token([], 1, patterns: ['private-a']));
told(fn () => askr_token([], 1, patterns: ['private-*-x']));
told(fn () => askr_token([], 1, patterns: array_fill(0, 101, 'a*')));
told(fn () => askr_token(array_fill(0, 60, 'a'), 1, patterns: array_fill(0, 41, 'a*')));
told(fn () => askr_token(['a'], 1, null, null, null, null));
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
TypeError: askr_token(): Argument #5 ($patterns) must be of type ?array, string given
TypeError: askr_token(): Argument #5 ($patterns) must be an array of strings
ValueError: askr_token(): Argument #5 ($patterns) cannot be empty
ValueError: askr_token(): Argument #5 ($patterns) must not contain control characters
ValueError: askr_token(): Argument #5 ($patterns) must be valid UTF-8
ValueError: askr_token(): Argument #5 ($patterns) must not start with "pusher:"
ValueError: askr_token(): Argument #5 ($patterns) must end with "*", and a channel is one of $channels
ValueError: askr_token(): Argument #5 ($patterns) must end with "*", and a channel is one of $channels
ValueError: askr_token(): Argument #5 ($patterns) must have at most 100 elements together with $channels, 101 given
ValueError: askr_token(): Argument #5 ($patterns) must have at most 100 elements together with $channels, 101 given
ArgumentCountError: askr_token() expects at most 5 arguments, 6 given
ValueError: askr_token(): Argument #4 ($info) must have a form in JSON, of at most 119 levels
LogicException: no

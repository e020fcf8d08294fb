--TEST--
The functions that ask askrd refuse bad arguments as core functions do
--INI--
askr.control=/nonexistent/askr-phpt.sock
--FILE--
<?php
require __DIR__ . '/ring.inc';
told(fn () => askr_channels('a', 'b'));
told(fn () => askr_channels([]));
told(fn () => askr_channels(str_repeat('p', 201)));
told(fn () => askr_channels("\xff"));
echo "---\n";
told(fn () => askr_members());
told(fn () => askr_members('a', 'b'));
told(fn () => askr_members([]));
told(fn () => askr_members(''));
told(fn () => askr_members(str_repeat('c', 201)));
told(fn () => askr_members("a\nb"));
told(fn () => askr_members("\xff"));
told(fn () => askr_members('pusher:x'));
echo "---\n";
told(fn () => askr_disconnect());
told(fn () => askr_disconnect('7', '8'));
told(fn () => askr_disconnect([]));
told(fn () => askr_disconnect(''));
told(fn () => askr_disconnect(str_repeat('7', 185)));
told(fn () => askr_disconnect("7\r\n"));
told(fn () => askr_disconnect("\xff"));
told(fn () => askr_disconnect(new class {
    public function __toString(): string { throw new LogicException('no'); }
}));
echo "---\n";
told(fn () => askr_disconnect_user());
told(fn () => askr_disconnect_user([]));
told(fn () => askr_disconnect_user(''));
told(fn () => askr_disconnect_user(str_repeat('7', 185)));
told(fn () => askr_disconnect_user("7\r\n"));
told(fn () => askr_disconnect_user("\xff"));
echo "---\n";
told(fn () => askr_disconnect_socket());
foreach (['', '7', 'ada', '1.', '1.2.3', '01.2', '4294967296.1', '1.4294967296', " 1.2", "1.2\n", "\xff"] as $id) {
    try {
        askr_disconnect_socket($id);
        echo "NO EXCEPTION\n";
    } catch (ValueError $error) {
        $whys[$error->getMessage()] = true;
    }
}
echo implode("\n", array_keys($whys)), "\n";
// Arguments come first: nobody was asked so far.
echo "---\n";
foreach ([fn () => askr_channels(), fn () => askr_channels(null), fn () => askr_channels(''),
    fn () => askr_channels(str_repeat('p', 200)), fn () => askr_channels("a\nb"),
    fn () => askr_members('presence-' . str_repeat('c', 191)), fn () => askr_disconnect(str_repeat('7', 184)),
    fn () => askr_disconnect(7), fn () => askr_disconnect_user(7), fn () => askr_disconnect_user('3.17'),
    fn () => askr_disconnect_socket('0.0'), fn () => askr_disconnect_socket('4294967295.4294967295')] as $call) {
    try {
        $call();
        echo "NO EXCEPTION\n";
    } catch (Askr\Exception) {
        echo 'asked ';
    }
}
?>
--EXPECT--
ArgumentCountError: askr_channels() expects at most 1 argument, 2 given
TypeError: askr_channels(): Argument #1 ($prefix) must be of type ?string, array given
ValueError: askr_channels(): Argument #1 ($prefix) must be at most 200 bytes long
ValueError: askr_channels(): Argument #1 ($prefix) must be valid UTF-8
---
ArgumentCountError: askr_members() expects exactly 1 argument, 0 given
ArgumentCountError: askr_members() expects exactly 1 argument, 2 given
TypeError: askr_members(): Argument #1 ($channel) must be of type string, array given
ValueError: askr_members(): Argument #1 ($channel) cannot be empty
ValueError: askr_members(): Argument #1 ($channel) must be at most 200 bytes long
ValueError: askr_members(): Argument #1 ($channel) must not contain control characters
ValueError: askr_members(): Argument #1 ($channel) must be valid UTF-8
ValueError: askr_members(): Argument #1 ($channel) must not start with "pusher:"
---
ArgumentCountError: askr_disconnect() expects exactly 1 argument, 0 given
ArgumentCountError: askr_disconnect() expects exactly 1 argument, 2 given
TypeError: askr_disconnect(): Argument #1 ($socketOrUser) must be of type string, array given
ValueError: askr_disconnect(): Argument #1 ($socketOrUser) cannot be empty
ValueError: askr_disconnect(): Argument #1 ($socketOrUser) must be at most 184 bytes long
ValueError: askr_disconnect(): Argument #1 ($socketOrUser) must not contain control characters
ValueError: askr_disconnect(): Argument #1 ($socketOrUser) must be valid UTF-8
LogicException: no
---
ArgumentCountError: askr_disconnect_user() expects exactly 1 argument, 0 given
TypeError: askr_disconnect_user(): Argument #1 ($user) must be of type string, array given
ValueError: askr_disconnect_user(): Argument #1 ($user) cannot be empty
ValueError: askr_disconnect_user(): Argument #1 ($user) must be at most 184 bytes long
ValueError: askr_disconnect_user(): Argument #1 ($user) must not contain control characters
ValueError: askr_disconnect_user(): Argument #1 ($user) must be valid UTF-8
---
ArgumentCountError: askr_disconnect_socket() expects exactly 1 argument, 0 given
askr_disconnect_socket(): Argument #1 ($socketId) must be a socket id, such as "123.456"
---
asked asked asked asked asked asked asked asked asked asked asked asked

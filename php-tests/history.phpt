--TEST--
askr_history() is what askrd gives of a channel, oldest first, a gap as an event; askr_forget() how many events are gone
--INI--
askr.ring=/askr-phpt-history
--FILE--
<?php
require __DIR__ . '/ring.inc';
require __DIR__ . '/control.inc';
$ask = function (string $call, string $answer): void {
    [$asked, $told] = conversation(TOLD . "told(fn () => $call);", $answer, ['askr.ring' => '/askr-phpt-ask']);
    preg_match('/^(\S+ \S+)( HTTP\/1\.1\r\nHost: localhost\r\nConnection: close\r\n)(?:.*\r\n)*\r\n(.*)$/s', $asked, $parts);
    echo $parts[1] ?? "NO QUESTION $asked", ' ', $parts[3] ?? '', "\n  ", preg_replace('/"time":\d{10}\.\d+\}/', '"time":NOW}', $told);
};
// The JSON, and behind it the data of all events.
$parts = fn (string $json, string $data = ''): string => strlen($json) . "\n$json$data";
$row = fn (int $n, string $names = 'null,null'): array => [[$names, $n]];
$page = fn (array $rows = [], string $gap = 'null', string $next = 'null'): string => http($parts(
    '{"events":[' . implode(',', array_map(fn ($row) => "[$row[0],\"0123456789ab-$row[1]\"," . strlen($row[1]) . ',1500000]', $rows))
        . "],\"gap\":$gap,\"next\":$next}", implode(array_column($rows, 1))));
$ask('askr_history("orders")', $page());
$ask('askr_history("orders é", 7)', $page([...$row(5), ...$row(6, '"order","é"')], next: '"0123456789ab-5"'));
$ask('askr_history("orders", since: "0123456789ab-4")', $page($row(5)));
$ask('askr_history("orders", 1000, null, "0123456789ab-4")', $page($row(3)));
$ask('askr_history("orders", 1, "0123456789ab-0", "0123456789ab-4")', $page($row(3)));

echo "--- gaps\n";
$gap = '{"lost":3,"at_most":3}';
$ask('askr_history("a", since: "0123456789ab-4")', $page($row(9), $gap));
$ask('askr_history("a", before: "0123456789ab-10")', $page($row(9), '{"lost":null,"at_most":7}'));
$ask('askr_history("a", since: "0123456789ab-4", before: "0123456789ab-10")', $page([], '{"lost":null,"at_most":null}'));
$ask('askr_history("a", before: "0123456789ab-10")', $page([], $gap));

echo "--- pages without an event, that say where to go on\n";
foreach (['since: "0123456789ab-4"', 'before: "0123456789ab-90"'] as $window) {
    [$asked, $told] = conversation(TOLD . "told(fn () => array_column(askr_history('a', 5, $window), 'cursor', 'data'));",
        [$page([], $gap, '"0123456789ab-20"'), $page([], 'null', '"0123456789ab-30"'), $page($row(31), 'null', '"0123456789ab-31"')]);
    preg_match_all('/GET .*?&channel=(\S+)/', $asked, $questions);
    echo implode("\n", $questions[1]), "\n  ", $told;
}

echo "--- forget\n";
$ask('askr_forget("orders é")', http('{"forgotten":3}'));
$ask('askr_forget("orders")', http('{"forgotten":0}'));
$ask('askr_forget("orders")', http("10,000 channels are forgotten already\n", '503 Service Unavailable'));

echo "--- what nobody understands\n";
$bad = fn (string $call, string $body) => $GLOBALS['whys'][conversation(TOLD . "told(fn () => $call);", http($body))[1]] = true;
foreach (['', '5', "x\n{}", "-1\n{}", "99\n{}", $parts('{"events":[[null,null,"c",2,1]],"gap":null,"next":null}', '1')] as $body) {
    $bad('askr_history("a")', $body);
}
foreach (['{}', '{"events":[],"gap":null}', '{"events":[],"next":null}', '{"events":{"a":1},"gap":null,"next":null}', '{"events":[1],"gap":null,"next":null}',
    '{"events":[[1,null,"",0,1]],"gap":null,"next":null}', '{"events":[[null,null,"",0,"1"]],"gap":null,"next":null}',
    '{"events":[[null,null,"",-1,1]],"gap":null,"next":null}', '{"events":[[null,null,null,0,1]],"gap":null,"next":null}',
    '{"events":[],"gap":{"lost":-1,"at_most":1},"next":null}', '{"events":[],"gap":7,"next":null}', '{"events":[],"gap":null,"next":"x"}'] as $body) {
    $bad('askr_history("a")', $parts($body));
}
foreach (['{}', '{"forgotten":-1}', '{"forgotten":"1"}'] as $body) {
    $bad('askr_forget("a")', $body);
}
echo implode(array_keys($whys));

echo "--- arguments\n";
told(fn () => askr_history());
told(fn () => askr_history('a', 1, null, null, 5));
told(fn () => askr_history(''));
told(fn () => askr_history("\xff"));
told(fn () => askr_history('askr:x'));
told(fn () => askr_history('a', 0));
told(fn () => askr_history('a', 1001));
told(fn () => askr_history('a', 'many'));
told(fn () => askr_history('a', since: ''));
told(fn () => askr_history('a', since: '0123456789AB-1'));
told(fn () => askr_history('a', before: 'order-7'));
told(fn () => askr_forget());
told(fn () => askr_forget([]));
told(fn () => askr_forget("a\nb"));
echo php('foreach ([fn () => askr_history("a"), fn () => askr_forget("a")] as $call) try { $call(); } catch (Askr\Exception $e) { echo $e->getMessage(), "\n"; }',
    ['askr.enabled' => '0']);
?>
--EXPECT--
GET /history?ring=%2Faskr%2Dphpt%2Dask&channel=orders&limit=100&form=parts 
  []
GET /history?ring=%2Faskr%2Dphpt%2Dask&channel=orders%20%C3%A9&limit=7&form=parts 
  [{"event":null,"id":null,"cursor":"0123456789ab-5","data":"5","time":1.5},{"event":"order","id":"é","cursor":"0123456789ab-6","data":"6","time":1.5}]
GET /history?ring=%2Faskr%2Dphpt%2Dask&channel=orders&limit=100&form=parts&since=0123456789ab%2D4 
  [{"event":null,"id":null,"cursor":"0123456789ab-5","data":"5","time":1.5}]
GET /history?ring=%2Faskr%2Dphpt%2Dask&channel=orders&limit=1000&form=parts&before=0123456789ab%2D4 
  [{"event":null,"id":null,"cursor":"0123456789ab-3","data":"3","time":1.5}]
GET /history?ring=%2Faskr%2Dphpt%2Dask&channel=orders&limit=1&form=parts&since=0123456789ab%2D0&before=0123456789ab%2D4 
  [{"event":null,"id":null,"cursor":"0123456789ab-3","data":"3","time":1.5}]
--- gaps
GET /history?ring=%2Faskr%2Dphpt%2Dask&channel=a&limit=100&form=parts&since=0123456789ab%2D4 
  [{"event":"askr:gap","id":null,"cursor":"0123456789ab-4","data":"{\"lost\":3,\"at_most\":3}","time":NOW},{"event":null,"id":null,"cursor":"0123456789ab-9","data":"9","time":1.5}]
GET /history?ring=%2Faskr%2Dphpt%2Dask&channel=a&limit=100&form=parts&before=0123456789ab%2D10 
  [{"event":"askr:gap","id":null,"cursor":"0123456789ab-9","data":"{\"lost\":null,\"at_most\":7}","time":NOW},{"event":null,"id":null,"cursor":"0123456789ab-9","data":"9","time":1.5}]
GET /history?ring=%2Faskr%2Dphpt%2Dask&channel=a&limit=100&form=parts&since=0123456789ab%2D4&before=0123456789ab%2D10 
  [{"event":"askr:gap","id":null,"cursor":"0123456789ab-10","data":"{\"lost\":null,\"at_most\":null}","time":NOW}]
GET /history?ring=%2Faskr%2Dphpt%2Dask&channel=a&limit=100&form=parts&before=0123456789ab%2D10 
  [{"event":"askr:gap","id":null,"cursor":"0123456789ab-0","data":"{\"lost\":3,\"at_most\":3}","time":NOW}]
--- pages without an event, that say where to go on
a&limit=5&form=parts&since=0123456789ab%2D4
a&limit=5&form=parts&since=0123456789ab%2D20
a&limit=5&form=parts&since=0123456789ab%2D30
  {"{\"lost\":3,\"at_most\":3}":"0123456789ab-4","31":"0123456789ab-31"}
a&limit=5&form=parts&before=0123456789ab%2D90
a&limit=5&form=parts&before=0123456789ab%2D20
a&limit=5&form=parts&before=0123456789ab%2D30
  {"{\"lost\":3,\"at_most\":3}":"0123456789ab-31","31":"0123456789ab-31"}
--- forget
POST /forget?ring=%2Faskr%2Dphpt%2Dask&channel=orders%20%C3%A9 
  3
POST /forget?ring=%2Faskr%2Dphpt%2Dask&channel=orders 
  0
POST /forget?ring=%2Faskr%2Dphpt%2Dask&channel=orders 
  Askr\Exception: askrd at SOCKET refuses: 10,000 channels are forgotten already (status 503); askr.ring is /askr-phpt-ask
--- what nobody understands
Askr\Exception: askrd gave an answer that askr.so does not understand; is askr.control its control socket, and are both of one version?
--- arguments
ArgumentCountError: askr_history() expects at least 1 argument, 0 given
ArgumentCountError: askr_history() expects at most 4 arguments, 5 given
ValueError: askr_history(): Argument #1 ($channel) cannot be empty
ValueError: askr_history(): Argument #1 ($channel) must be valid UTF-8
ValueError: askr_history(): Argument #1 ($channel) must not start with "askr:"
ValueError: askr_history(): Argument #2 ($limit) must be between 1 and 1000
ValueError: askr_history(): Argument #2 ($limit) must be between 1 and 1000
TypeError: askr_history(): Argument #2 ($limit) must be of type int, string given
ValueError: askr_history(): Argument #3 ($since) must be a cursor: 12 hexadecimal digits, a dash, and a number, or a tilde and base64url
ValueError: askr_history(): Argument #3 ($since) must be a cursor: 12 hexadecimal digits, a dash, and a number, or a tilde and base64url
ValueError: askr_history(): Argument #4 ($before) must be a cursor: 12 hexadecimal digits, a dash, and a number, or a tilde and base64url
ArgumentCountError: askr_forget() expects exactly 1 argument, 0 given
TypeError: askr_forget(): Argument #1 ($channel) must be of type string, array given
ValueError: askr_forget(): Argument #1 ($channel) must not contain control characters
askrd is not asked: disabled by askr.enabled = 0
askrd is not asked: disabled by askr.enabled = 0

--TEST--
What askrd answers becomes arrays and numbers; anything else an Askr\Exception, never less
--FILE--
<?php
require __DIR__ . '/ring.inc';
require __DIR__ . '/control.inc';
$ask = function (string $call, string $answer, array $ini = []): void {
    [$asked, $told] = conversation(TOLD . "told(fn () => $call);", $answer, $ini + ['askr.ring' => '/askr-phpt-ask']);
    preg_match('/^(\S+ \S+)( HTTP\/1\.1\r\nHost: localhost\r\nConnection: close\r\n)(?:.*\r\n)?\r\n(.*)$/s', $asked, $parts);
    echo $parts[1] ?? "NO QUESTION $asked", ' ', $parts[3] ?? '', "\n  ", $told;
};
$ask('askr_channels()', http('{"channels":{}}'));
$ask('askr_channels("private-é&")', http('{"channels":{"private-é&1":3,"7":1}}'));
$ask('askr_channels("")', http('{"channels":{"orders":1}}'), ['askr.ring' => '/run/askr/ring']);
$ask('askr_members("presence-team 1")', http('{"members":[]}'));
$info = str_repeat('[', 512) . str_repeat(']', 512);
$ask('[count($m = askr_members("presence-a")), $m[0], $m[1], json_encode($m[2]["info"], 0, 1024) === "' . $info . '"]',
    http('{"members":[{"id":"7","info":{"name":"Æ","tags":[1,{}]}},{"id":"8","info":null},{"id":"9","info":' . $info . '}]}'));
$ask('askr_disconnect("1.23")', http('{"ended":1}'));
$ask('askr_disconnect("1.2.3")', http('{"ended":0}'));
$ask('askr_disconnect("1.")', http('{"ended":0}'));
$ask('askr_disconnect("Æ\"\\\\/7")', http('{"ended":2}'));
// Which of them is meant is said: a user's id may look like a socket id.
$ask('askr_disconnect_user("3.17")', http('{"ended":2}'));
$ask('askr_disconnect_user("7")', http('{"ended":0}'));
$ask('askr_disconnect_socket("3.17")', http('{"ended":1}'));

echo "--- refusals\n";
$ask('askr_channels()', "HTTP/1.1 403 Forbidden\r\ncontent-length: 37\r\n\r\nthis user may not ask about this ring");
$ask('askr_members("orders")', http("not a presence channel\nmore", '400 Bad Request'));
$ask('askr_disconnect("7")', http("\x00\x1b[31mred", '503 Service Unavailable'));

echo "--- what nobody understands\n";
foreach (['', 'garbage', '{}', '[]', '7', '{"channels":null}', '{"channels":[null]}', '{"channels":{"a":"3"}}',
    '{"channels":{"a":1.5}}', '{"channels":{"a":3}', "{\"channels\":{\"\xff\":3}}", str_repeat('[', 5000)] as $body) {
    [, $told] = conversation(TOLD . 'told(fn () => askr_channels());', http($body));
    $whys[$told] = true;
}
foreach (['{"members":{"a":1}}', '{"members":[1]}', '{"members":[{"id":7,"info":null}]}', '{"members":[{"id":"7"}]}'] as $body) {
    [, $told] = conversation(TOLD . 'told(fn () => askr_members("presence-a"));', http($body));
    $whys[$told] = true;
}
foreach (['{"ended":-1}', '{"ended":"1"}', '{"ended":null}', '{"ended":1.0}'] as $body) {
    [, $told] = conversation(TOLD . 'told(fn () => askr_disconnect("7"));', http($body));
    $whys[$told] = true;
}
echo implode(array_keys($whys));
foreach (["\x16\x03\x01 TLS\r\n\r\n", '', "HTTP/1.1 200 OK\r\ncontent-length: 16777217\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"channels\":{}}",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nf\r\n{\"channels\":{}}\r\n0\r\n\r\n"] as $answer) {
    [, $told] = conversation(TOLD . 'told(fn () => askr_channels());', $answer);
    echo $told;
}
?>
--EXPECT--
GET /channels?ring=%2Faskr%2Dphpt%2Dask 
  []
GET /channels?ring=%2Faskr%2Dphpt%2Dask&prefix=private%2D%C3%A9%26 
  {"private-é&1":3,"7":1}
GET /channels?ring=%2Frun%2Faskr%2Fring&prefix= 
  {"orders":1}
GET /members?ring=%2Faskr%2Dphpt%2Dask&channel=presence%2Dteam%201 
  []
GET /members?ring=%2Faskr%2Dphpt%2Dask&channel=presence%2Da 
  [3,{"id":"7","info":{"name":"Æ","tags":[1,[]]}},{"id":"8","info":null},true]
POST /disconnect?ring=%2Faskr%2Dphpt%2Dask {"socket_id":"1.23"}
  1
POST /disconnect?ring=%2Faskr%2Dphpt%2Dask {"user":"1.2.3"}
  0
POST /disconnect?ring=%2Faskr%2Dphpt%2Dask {"user":"1."}
  0
POST /disconnect?ring=%2Faskr%2Dphpt%2Dask {"user":"Æ\"\\/7"}
  2
POST /disconnect?ring=%2Faskr%2Dphpt%2Dask {"user":"3.17"}
  2
POST /disconnect?ring=%2Faskr%2Dphpt%2Dask {"user":"7"}
  0
POST /disconnect?ring=%2Faskr%2Dphpt%2Dask {"socket_id":"3.17"}
  1
--- refusals
GET /channels?ring=%2Faskr%2Dphpt%2Dask 
  Askr\Exception: askrd at SOCKET refuses: this user may not ask about this ring (status 403); askr.ring is /askr-phpt-ask
GET /members?ring=%2Faskr%2Dphpt%2Dask&channel=orders 
  Askr\Exception: askrd at SOCKET refuses: not a presence channel (status 400); askr.ring is /askr-phpt-ask
POST /disconnect?ring=%2Faskr%2Dphpt%2Dask {"user":"7"}
  Askr\Exception: askrd at SOCKET refuses: ??[31mred (status 503); askr.ring is /askr-phpt-ask
--- what nobody understands
Askr\Exception: askrd gave an answer that askr.so does not understand; is askr.control its control socket, and are both of one version?
Askr\Exception: askrd at SOCKET gave no answer that can be understood: it is not HTTP; is it askrd that listens there?
Askr\Exception: askrd at SOCKET gave no answer that can be understood: it ended before its head did; is it askrd that listens there?
Askr\Exception: askrd at SOCKET gave an answer of more than 16777216 bytes
Askr\Exception: askrd at SOCKET gave no answer that can be understood: it was cut short; is it askrd that listens there?
Askr\Exception: askrd at SOCKET gave no answer that can be understood: it has a transfer encoding; is it askrd that listens there?

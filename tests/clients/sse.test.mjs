// The reader of event streams in clients/js: the same blocks, wherever the text is cut.

import test from 'node:test';
import assert from 'node:assert/strict';
import { blocks } from '../../clients/js/sse.js';

const STREAM = ': welcome\nretry: 2000\nid: 0a-1\n\nevent: askr:connected\nid: 0a-1\ndata: {"socket_id":"1.2"}\n\n: ping\nid: 0a-2\n\nid: own: x\n'
  + 'data: {"channel":"a","data":"x: \\n"}\n\nid: 0a-3\n\n';
const BLOCKS = [
  { retry: '2000', id: '0a-1' },
  { event: 'askr:connected', id: '0a-1', data: '{"socket_id":"1.2"}' },
  { id: '0a-2' },
  { id: 'own: x', data: '{"channel":"a","data":"x: \\n"}' },
  { id: '0a-3' },
];

/** Without comments, which are fields without a name. */
const known = ({ retry, id, event, data }) => JSON.parse(JSON.stringify({ retry, id, event, data }));

test('a stream is read the same however it is cut in two or three', () => {
  for (let a = 0; a <= STREAM.length; a += 1) {
    for (let b = a; b <= STREAM.length; b += 7) {
      const got = [];
      const push = blocks((fields) => got.push(known(fields)));
      for (const piece of [STREAM.slice(0, a), STREAM.slice(a, b), STREAM.slice(b)]) push(piece);
      assert.deepEqual(got, BLOCKS);
    }
  }
});

test('a block that has not ended is not passed on', () => {
  const push = blocks(() => assert.fail('it is not complete'));
  push('id: 0a-1\ndata: {}\n');
});

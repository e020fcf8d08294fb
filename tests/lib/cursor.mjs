// Cursors as clients see them: opaque to a page, but a test may look inside.

import assert from 'node:assert/strict';

/** `{ epoch, seq }` of "epoch-sequence". */
export function parseCursor(text) {
  const match = /^([0-9a-f]{12})-([0-9]+)$/.exec(text);
  assert.ok(match, `'${text}' is a cursor`);
  return { epoch: match[1], seq: BigInt(match[2]) };
}

/** Each cursor is of the same epoch and past the one before. */
export function assertRising(cursors) {
  let before;
  for (const text of cursors) {
    const cursor = parseCursor(text);
    if (before) {
      assert.equal(cursor.epoch, before.epoch, 'the epoch stays');
      assert.ok(cursor.seq > before.seq, `${text} is past ${before.seq}`);
    }
    before = cursor;
  }
}

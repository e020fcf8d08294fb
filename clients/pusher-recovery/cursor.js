// A cursor says "I have everything up to here": of one ring as `epoch-position`, of those of several hosts as `~` and
// base64url of each ring (five bytes of its epoch) and its position (LEB128).

const HEX = 10;

/** The position of each ring. */
function positions(cursor) {
  const all = new Map();
  if (!cursor.startsWith('~')) {
    const [epoch, position] = cursor.split('-');
    return all.set(epoch.slice(0, HEX), BigInt(position));
  }
  const bytes = Uint8Array.from(atob(cursor.slice(1).replace(/-/g, '+').replace(/_/g, '/')), (character) => character.charCodeAt(0));
  for (let at = 0; at < bytes.length;) {
    const ring = Array.from(bytes.subarray(at, at += HEX / 2), (byte) => byte.toString(16).padStart(2, '0')).join('');
    let position = 0n;
    for (let shift = 0n, more = true; more; shift += 7n, at += 1) {
      position |= BigInt(bytes[at] & 0x7f) << shift;
      more = bytes[at] >= 0x80;
    }
    all.set(ring, position);
  }
  return all;
}

/** Whether who has `other` has all of `one`, and more. Of two that know different rings neither is before the other. */
export function isBefore(one, other) {
  if (one === other) return false;
  try {
    const more = positions(other);
    return [...positions(one)].every(([ring, position]) => more.get(ring) >= position);
  } catch {
    // Another form than these.
    return false;
  }
}

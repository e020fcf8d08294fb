// Events of encrypted channels, as pusher-js and Pusher's server libraries make them: a secretbox, with a secret that
// the application hands out with its signature.

const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** The secret of one channel. */
export class Secret {
  #nacl;
  #key;

  constructor(nacl, sharedSecret) {
    this.#nacl = nacl;
    this.#key = bytes(sharedSecret);
  }

  /** The event's data, read as JSON if it is JSON. Undefined: it is by another secret, or is none of these. */
  open(data) {
    let plain = null;
    try {
      plain = this.#nacl.secretbox.open(bytes(data.ciphertext), bytes(data.nonce), this.#key);
    } catch {
      // No base64, or of a wrong length.
    }
    if (!plain) return undefined;
    const text = new TextDecoder().decode(plain);
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
}

// Channel authorization of pusher-js 8 by a token of Askr's, in place of a request to /broadcasting/auth for each channel:
// the option `channelAuthorization: { customHandler: tokenAuthorization() }`, of Laravel Echo, too.
//
//   channel ─► handler ─► { auth: TOKEN }, or { auth: '' } for the cookie of the handshake ─► pusher:subscribe
//
// pusher-js needs more for two kinds of channels: who the page's user is on a presence channel (the token says it, or
// `user`), and the shared secret of an encrypted one, which only the application has (`otherwise`).

const ENCRYPTED = 'private-encrypted-';
const PRESENCE = 'presence-';

const content = (name) => globalThis.document?.querySelector?.(`meta[name="${name}"]`)?.content || undefined;
const given = (option) => (typeof option === 'function' ? option() : option);

/** Who the bearer of a token is. Nothing is verified: the server does that. */
function bearer(token) {
  try {
    const base64 = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const { sub, info } = JSON.parse(new TextDecoder().decode(bytes));
    return sub === undefined ? undefined : { id: sub, info };
  } catch {
    return undefined;
  }
}

/** The handler. `options`: see index.d.ts. */
export function tokenAuthorization({ token = () => content('askr-token'), user, otherwise } = {}) {
  // One token for all channels of a connection: a socket id is a connection, and the next one gets a newer token.
  let connection;
  let shown;
  const tokenFor = (socketId) => {
    if (connection !== socketId || !shown) {
      connection = socketId;
      const asked = Promise.resolve().then(() => given(token));
      shown = asked;
      asked.catch(() => { if (shown === asked) shown = undefined; });
    }
    return shown;
  };
  const userOf = (channel, token) => {
    const named = given(user) ?? JSON.parse(content('askr-user') ?? 'null') ?? (token ? bearer(token) : undefined);
    if (named) return JSON.stringify({ user_id: String(named.id), user_info: named.info });
    throw new Error(`${channel}: pusher-js has to know who the page's user is: the token has no sub, or is in a cookie that the page `
      + 'cannot read; pass `user`, or <meta name="askr-user" content=\'{"id":"7"}\'>');
  };
  const authorize = async ({ channelName, socketId }) => {
    if (channelName.startsWith(ENCRYPTED)) {
      throw new Error(`${channelName}: an encrypted channel needs a shared_secret, which only the application has; pass \`otherwise\``);
    }
    const auth = (await tokenFor(socketId)) ?? '';
    return channelName.startsWith(PRESENCE) ? { auth, channel_data: userOf(channelName, auth) } : { auth };
  };
  return (request, callback) => {
    if (otherwise && request.channelName.startsWith(ENCRYPTED)) return otherwise(request, callback);
    authorize(request).then((data) => callback(null, data), (error) => callback(error, null));
  };
}

/** What pusher-js does by itself: a POST for each channel. A handler, for `otherwise`. `headers`: an object, or a function. */
export function endpoint(url = '/broadcasting/auth', headers = {}) {
  const ask = async ({ channelName, socketId }) => {
    const answer = await fetch(url, {
      method: 'POST',
      credentials: 'same-origin',
      headers: { Accept: 'application/json', ...given(headers) },
      body: new URLSearchParams({ socket_id: socketId, channel_name: channelName }),
    });
    if (!answer.ok) throw Object.assign(new Error(`${channelName}: ${url} answered ${answer.status}`), { status: answer.status });
    return answer.json();
  };
  return (request, callback) => {
    ask(request).then((data) => callback(null, data), (error) => callback(error, null));
  };
}

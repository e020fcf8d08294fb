// What opens a channel: the application's signature, asked for as stock Echo does, by the same options. With a token none is
// needed but for encrypted channels, whose shared secret only the application has.

export const ENCRYPTED = 'private-encrypted-';

/** The application refuses a channel, with this status. */
export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/** It gives no answer: that is tried again, after a pause. */
class Away extends Error {
  status = 503;
}

/** One POST for a channel. */
async function post({ endpoint, headers, headersProvider, params, paramsProvider }, { channelName, socketId }) {
  const answer = await fetch(endpoint, {
    method: 'POST',
    credentials: 'same-origin',
    headers: { Accept: 'application/json', ...headers, ...headersProvider?.() },
    body: new URLSearchParams({ socket_id: socketId, channel_name: channelName, ...params, ...paramsProvider?.() }),
  }).catch((error) => { throw new Away(`${endpoint}: ${error.message}`); });
  const reason = `${endpoint} answered ${answer.status}`;
  if (answer.status >= 500) throw new Away(reason);
  if (!answer.ok) throw new Refused(answer.status, reason);
  // As of an application whose broadcasts go nowhere, or of a page to sign in at.
  return answer.json().catch(() => { throw new Refused(403, `${reason} with no JSON`); });
}

/** A handler with a callback, as a promise: what it tells is the application's refusal. */
const asked = (handler, request) => new Promise((resolve, reject) => {
  handler(request, (error, data) => {
    if (error) reject(new Refused(error.status ?? 403, error.message ?? String(error)));
    else resolve(data);
  });
});

/** How a channel is signed, by Echo's options. Undefined: not at all. `channel`: pusher-js' object of this name. */
export function signer(options, channel) {
  const how = { endpoint: options.authEndpoint, ...options.auth, ...options.channelAuthorization };
  const { authorizer } = options;
  if (how.customHandler) return (request) => asked(how.customHandler, request);
  if (authorizer) return (request) => asked((wanted, callback) => authorizer(channel(wanted.channelName), how).authorize(wanted.socketId, callback), request);
  return how.endpoint ? (request) => post(how, request) : undefined;
}

/** Whether a channel is signed: where a token opens channels, only an encrypted one is. */
export const isSigned = (name, { token }) => name.startsWith(ENCRYPTED) || (!token && /^(private|presence)-/.test(name));

// The connection of a page and its channels. What is done and when is decided in machine.js; this is the browser's side.

import { PATIENCE, machine } from './machine.js';
import { Listeners, Subscription } from './subscription.js';
import { events, refusal } from './sse.js';

export class ClientError extends Error {
  constructor(message, status = 0, after) {
    super(message);
    this.status = status;
    this.after = after;
  }
}

export class Client extends Listeners {
  channels = new Map();

  constructor(options = {}) {
    super();
    const { url = '/askr', app, transport = 'sse', token, authorize, credentials,
      cursor = document.querySelector('meta[name=askr-cursor]')?.content } = options;
    if (!/^(sse|ws)$/.test(transport)) throw new TypeError('transport: sse or ws');
    const webSocket = transport === 'ws';
    // Keeps the socket id across reconnects.
    const session = ['session', crypto.getRandomValues(new Uint32Array(6)).join('')];
    const page = new AbortController();
    let connection, timer, sent;

    const address = (path, ...parameters) => `${url}/${path}?${new URLSearchParams([['app', app], ...parameters].filter(([, value]) => value))}`;

    const init = (headers, bearer) => {
      if (bearer) headers.Authorization = `Bearer ${bearer}`;
      return { credentials, headers, signal: connection.signal };
    };

    /** Of what the connection that is there now asked for, nothing comes once it is over. */
    const unlessOver = (call, { signal } = connection) => (value) => signal.aborted || call(value);

    const inTime = (call) => Promise.race([call(), new Promise((_, reject) => {
      setTimeout(reject, PATIENCE, new ClientError('no answer'));
    })]);

    /** Rejected with a ClientError if it was not taken. */
    const post = async (path, { token: bearer, ...body }) => {
      const response = await inTime(async () => fetch(address(path), {
        ...init({ 'Content-Type': 'application/json' }, bearer), method: 'POST', body: JSON.stringify(body),
      })).catch((error) => { throw new ClientError(error.message); });
      if (response.ok) return response;
      throw new ClientError(...await refusal(response));
    };

    const of = machine(this, {
      now: () => performance.now(),
      random: Math.random,
      connect({ channels, since, rewind, token: bearer }) {
        const { signal } = connection = new AbortController();
        if (webSocket) {
          import('./websocket.js').then(
            ({ socket }) => socket(address('ws', session), signal, of),
            unlessOver(({ message }) => of.ended(message)),
          );
        } else {
          events(
            address('events', ['format', 'json'], session, ['rewind', rewind], ...channels.map((name) => ['channel', name])),
            init(since ? { 'Last-Event-ID': since } : {}, bearer),
            of,
          );
        }
      },
      disconnect: () => connection?.abort(),
      change(verb, body, done, failed) {
        const send = async () => {
          if (authorize && verb === 'subscribe') {
            // Whatever is wrong there, nothing was asked of the server: the connection stays.
            body.auth = await inTime(async () => authorize(body.channels, body.socket_id))
              .catch(({ message, status }) => { throw new ClientError(message, status || 503); });
          }
          return (await post(verb, body)).json();
        };
        send().then(unlessOver(done), unlessOver(failed));
      },
      token: (why, done, failed) => inTime(async () => (typeof token === 'function' ? token(why) : token)).then(done, failed),
      // What is due now is done once this task has ended, so that several channels are asked for together.
      timer(at) {
        const wait = at - performance.now();
        if (wait <= 0) return queueMicrotask(of.tick);
        clearTimeout(timer);
        // Longer than a timer can be: it is set again.
        timer = setTimeout(of.tick, Math.min(wait + 1, 2 ** 30));
      },
    }, { ...options, cursor, adds: webSocket || authorize });

    const listen = (target, type, action) => target.addEventListener(type, action, page);
    const look = () => (document.hidden ? of.hide() : of.wake());
    listen(document, 'visibilitychange', look);
    // A page with a connection is not kept for the back button.
    listen(window, 'pagehide', of.sleep);
    listen(window, 'pageshow', () => {
      of.wake();
      look();
    });
    listen(window, 'offline', of.offline);
    listen(window, 'online', of.online);
    look();

    Object.assign(this, {
      subscribe: (name, where = {}) => {
        if (!name || this.state === 'closed') throw new TypeError('closed, or no name');
        let channel = this.channels.get(name);
        if (channel) return channel;
        channel = new Subscription(name);
        channel.unsubscribe = () => channel.gone || of.unsubscribe(name);
        channel.send = async (event, data = null) => {
          if (!channel.open) throw new ClientError('not subscribed');
          // One after the other, so that they arrive in order.
          const send = () => post('client-event', { ...of.me(), channel: name, event, data });
          sent = Promise.resolve(sent).then(send, send);
          await sent;
        };
        of.subscribe(channel, where);
        return channel;
      },
      unsubscribe: of.unsubscribe,
      renew: of.renew,
      close: () => {
        page.abort();
        return of.close();
      },
    });
  }
}

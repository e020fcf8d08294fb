// What the connection of a page does, without doing it: what happened goes in (the functions it returns), what is to be
// done goes out (those of `host`). No socket, timer, clock or chance of its own, so that tests can try any order.
//
// Each channel has a place of its own: it goes on from the cursor `from`, and `position` is its last event. While it is
// `live`, the stream's cursor speaks for it. A channel that was added catches up first, with events that move no cursor,
// and is live from the first cursor after its confirmation on.

import { isCache, isPrivate } from './subscription.js';

/** Channels of one request. The others follow in the next. */
const MOST = 50;
/** Milliseconds for an answer. */
export const PATIENCE = 20_000;
const NEVER = Infinity;

/** Whether a status says something of what was asked for. All others may be different in a moment. */
const isVerdict = (status) => /^4(?!08|29)/.test(status);

/** Whether cursor `a` is at or before `b`. Other forms than `epoch-position` of one ring can only be the same. */
const isUpTo = (a, b) => a === b || (a[12] === '-' && b?.startsWith(a.slice(0, 13))
  && +a.slice(13) <= +b.slice(13));

/**
 * `page`: what it is told by call(type, data); its `state`, `cursor`, `socketId`, and its `channels`, by name.
 *
 * `host`: now(), random(), connect({ channels, since, rewind, token }), disconnect() (also of requests: nothing comes of
 * them after it), change(verb, body, done, failed), token(why, done, failed), timer(at).
 *
 * `settings`: cursor, silence, hidden; `adds`: connections are opened without channels, which are added.
 */
export function machine(page, host, { cursor: first, silence = 45_000, hidden = NEVER, adds }) {
  const { channels } = page;
  page.state = 'idle';
  const leaving = new Set();        // names: on the server, and not wanted any more
  let me;                           // the stream's socket id and secret
  let shown;                        // the issue of the token that the connection was asked for with
  let unconfirmed = [];             // channels of each request, of the connection at first, in order
  let catching = [];                // confirmed, before the next cursor
  let isolate = false;              // one at a time, to find the one that is refused
  let busy = false;                 // a request about channels is under way
  let token;                        // undefined: not asked for yet; null: there is none
  let asking = false;               // for it
  let again = false;                // once more: somebody signed in meanwhile
  let issue = 0;                    // how many there were
  let accepted;                     // the issue that was accepted last
  let expires;                      // when the server said last that it ends
  let renewing = false;             // the private channels are to be shown the token
  let retry = 2000;                 // as the server said last
  let failures = 0, changeFailures = 0;
  let retryAt = 0;                  // of the connection, or of the next request about channels
  // It sleeps from `hiddenAt` on.
  let hiddenAt = NEVER, answerBy = NEVER, soundBy = NEVER;

  const turn = () => host.timer(0);
  const wanted = () => [...channels.values()].filter((one) => !one.refused);
  const within = (milliseconds) => host.now() + milliseconds;

  function set(state, more) {
    if (state === page.state && !more) return;
    page.state = state;
    page.call('state', { state, ...more });
  }

  /**
   * Twice as long after each failure up to half a minute, and longer by chance, so that not all pages come at once. An event
   * may tell pages to come back at once: that is a tenth of a second.
   */
  function pause(least, failures) {
    const wait = Math.min(Math.max(least, 100) * 2 ** failures, Math.max(least, 30_000)) * (1 + host.random() / 4);
    retryAt = within(wait);
    return wait;
  }

  // The connection.

  function connect() {
    const all = wanted();
    if (!all.length) return set('idle');
    if (host.now() < retryAt || answerBy < NEVER) return;
    set('connecting');
    if (lacksToken()) return;
    renewing = false;
    expires = undefined;
    answerBy = within(PATIENCE);
    shown = issue;
    const [some, request] = together(adds || isolate ? [] : all);
    unconfirmed = [some];
    host.connect(request);
  }

  /** The connection is over. Where each channel goes on is kept. */
  function drop() {
    host.disconnect();
    for (const [, one] of channels) {
      // The stream may be behind where a channel was added, and behind the event that is just being told.
      if (one.live && !isUpTo(page.cursor, one.from)) one.from = page.cursor;
      one.cut();
    }
    leaving.clear();
    unconfirmed = [];
    catching = [];
    busy = false;
    answerBy = soundBy = NEVER;
    if (page.state === 'connected') isolate = false;
  }

  function lost(reason, status, after) {
    drop();
    // What refuses a connection as such takes a person to repair.
    const told = isVerdict(status) ? 60_000 : 1000 * after;
    set('waiting', { reason, status, retryIn: pause(told || retry, told ? 0 : failures++) });
    turn();
  }

  /** Now is a good time, also if it only waited. */
  function online() {
    retryAt = 0;
    turn();
  }

  function sleep() {
    hiddenAt = 0;
    drop();
    set('asleep');
  }

  // Channels.

  /** To ask for the first of these and those that begin where it does: at a cursor, by a rewind, or now. */
  function together(all) {
    const [{ from, rewind } = {}] = all;
    const some = all.filter((one) => one.from === from && (from || one.rewind === rewind)).slice(0, isolate ? 1 : MOST);
    for (const one of some) one.asked = true;
    return [some, { channels: some.map((one) => one.name), token, ...(from ? { since: from } : { rewind }) }];
  }

  function unsubscribe(name) {
    const one = channels.get(name);
    if (!one) return;
    one.gone = true;
    channels.delete(name);
    if (one.asked) leaving.add(name);
    turn();
  }

  function change() {
    if (busy) return;
    if (leaving.size) return send('unsubscribe', { channels: [...leaving].slice(0, MOST) });
    const missing = wanted().filter((one) => !one.asked);
    if (missing.length) {
      if (lacksToken()) return;
      const [some, { since, ...request }] = together(missing);
      return send('subscribe', { last_event_id: since, ...request }, some);
    }
    const held = wanted().filter(isPrivate);
    // All of them, or the connection would still end with the old token.
    if (renewing && held.length) send('subscribe', { channels: held.map((one) => one.name), token }, held);
    renewing = false;
  }

  /** `records`: those that are asked for, or whose access is renewed. */
  function send(verb, body, records = []) {
    busy = true;
    const by = issue;
    if (records.length) unconfirmed.push(records);
    host.change(verb, { ...me, ...body }, ({ channels: held }) => {
      busy = false;
      changeFailures = 0;
      for (const name of body.channels) leaving.delete(name);
      if (unconfirmed.length) answerBy = within(silence);
      for (const name of held) if (!channels.get(name)?.asked) leaving.add(name);
      turn();
    }, (error) => {
      const { message, status, after } = error;
      // It may have been carried out or not, or the server has another stream than this one.
      if (!status || status === 404 || /^the secret\b/.test(message)) return lost(message);
      busy = false;
      unconfirmed = unconfirmed.filter((asked) => asked !== records);
      for (const one of records) {
        one.asked = one.open;
        renewing ||= one.open;
      }
      if (!refuse(records, message, status, by)) {
        page.call('error', error);
        pause(1000 * (after || 1), changeFailures++);
      }
      turn();
    });
  }

  /** A request for these was refused. Whether there is something to be done about it, beside waiting. */
  function refuse(records, reason, status, by) {
    if (!isVerdict(status) || !records.length) return false;
    const closed = records.filter(isPrivate);
    // Not of the newest token, or of one that may have become too old.
    if (/^40[13]/.test(status) && (by < issue || asking || accepted === issue) && closed.length) {
      if (by === issue) ask('refused');
      return true;
    }
    const named = records[/\bchannel (\d+)\b/.exec(reason)?.[1] - 1];
    const those = named ? [named] : status === 401 && closed.length ? closed : isolate ? records : [];
    // Nobody says which of them it is.
    if (!those.length) isolate = true;
    for (const one of those) {
      if (one.open) leaving.add(one.name);
      one.refused = true;
      one.cut();
      const refusal = { channel: one.name, status, reason };
      one.call('askr:refused', refusal);
      page.call('refused', refusal);
    }
    return true;
  }

  // Tokens.

  function lacksToken() {
    if (token === undefined && wanted().some(isPrivate)) ask('connect');
    return asking;
  }

  function ask(why) {
    again = asking && (again || why === 'renew');
    if (asking) return;
    asking = true;
    const over = () => {
      asking = false;
      if (again) ask('renew');
      turn();
    };
    host.token(why, (next) => {
      issue += 1;
      // None: a cookie counts.
      token = next ?? null;
      renewing = true;
      over();
    }, (error) => {
      page.call('error', error);
      over();
      if (asking) return;
      if (page.state === 'connecting') lost(error.message);
      else if (page.state === 'connected') pause(retry, 0);
    });
  }

  return {
    me: () => me,

    // From the page.

    /** `one`: a Subscription. */
    subscribe(one, { since, rewind }) {
      one.from = since || (rewind || isCache(one) ? undefined : first);
      one.rewind = rewind;
      channels.set(one.name, one);
      turn();
    },

    unsubscribe,

    renew() {
      for (const [, one] of channels) one.refused = false;
      ask('renew');
      online();
    },

    sleep,

    wake() {
      hiddenAt = NEVER;
      online();
    },

    /** The page is not seen any more. */
    hide() {
      hiddenAt = Math.min(hiddenAt, within(hidden));
      turn();
    },

    online,

    offline() {
      if (page.state === 'connected') lost('offline');
    },

    /** Where each channel goes on. */
    close() {
      drop();
      const places = new Map();
      for (const [name, { from }] of channels) {
        places.set(name, from);
        unsubscribe(name);
      }
      set('closed');
      return places;
    },

    // From the connection.

    heard() {
      soundBy = within(silence);
    },

    /** One event on one channel. `moved` follows after its last frame. */
    event(event) {
      const one = channels.get(event.channel);
      if (!one?.open) return;
      // Sent again after a connection that broke before the cursor was moved. A client event has no place.
      const at = event.at ?? event.id;
      if (at) {
        if (isUpTo(at, one.position)) return;
        one.position = at;
        if (!isUpTo(at, one.from)) one.from = at;
      }
      one.tell(event);
    },

    moved(to) {
      // A listener may just have ended it.
      if (page.state !== 'connected') return;
      page.cursor = to;
      for (const one of catching) one.live = true;
      catching = [];
    },

    told(what, data, at) {
      switch (what) {
        case 'connected':
          me = data;
          page.socketId = me.socket_id;
          first = undefined;
          failures = 0;
          set('connected');
          turn();
          // Falls through: so are the channels that it was opened with.
        case 'subscribed':
          for (const one of unconfirmed.shift() ?? []) {
            if (isPrivate(one)) accepted = issue;
            catching.push(one);
            // If the connection is lost before the next cursor. A cache tells its last event again.
            if (!isCache(one)) one.from ??= at;
            if (one.gone || one.open) continue;
            one.open = true;
            one.call('askr:subscribed');
          }
          if (!unconfirmed.length) answerBy = NEVER;
          return;
        case 'retry':
          retry = data;
          failures = 0;
          return;
        case 'expiring':
          // Told again whenever it is shown: a cookie may be as it was.
          if (data.expires === expires) return;
          expires = data.expires;
          page.call(what, data);
          return ask(what);
        case 'gap':
          page.call(what, data);
          for (const [, one] of channels) if (one.open) one.call('askr:gap', data);
          return;
        default: {
          const one = channels.get(data.channel);
          if (one?.open) one.present(what, data);
        }
      }
    },

    /** The connection is over, or was refused. */
    ended(reason, status, after) {
      if (!refuse(unconfirmed[0], reason, status, shown)) return lost(reason, status, after);
      drop();
      set('connecting');
      turn();
    },

    // Time passes.

    tick() {
      const now = host.now();
      if (page.state === 'closed') return;
      if (now >= hiddenAt) return sleep();
      if (now >= answerBy) return lost('no answer');
      if (now >= soundBy) return lost('silence');
      if (page.state !== 'connected') connect();
      else if (now >= retryAt) change();
      host.timer(Math.min(hiddenAt, answerBy, soundBy, retryAt > now ? retryAt : NEVER));
    },
  };
}

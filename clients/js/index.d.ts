/**
 * - `idle`: no channel is wanted, or none of them may be heard.
 * - `connecting`: a connection is being opened.
 * - `connected`: events arrive.
 * - `waiting`: the connection was lost or refused; the next attempt follows by itself.
 * - `asleep`: the page is hidden, or in the back/forward cache; it goes on where it was when it is back.
 * - `closed`: after `close()`, for good.
 */
export type State = 'idle' | 'connecting' | 'connected' | 'waiting' | 'asleep' | 'closed';

export interface StateChange {
  state: State;
  /** Of `waiting`: why, for a person. */
  reason?: string;
  /** The HTTP status of a refusal of the whole connection, which is tried again after a minute. */
  status?: number;
  /** Of `waiting`: milliseconds until the next attempt. */
  retryIn?: number;
}

/** How many events are gone. `lost` is null where only a bound is known, both are null where not even that is. */
export interface Gap {
  lost: number | null;
  at_most: number | null;
}

/** A channel may not be heard. */
export interface Refusal {
  channel: string;
  /** The HTTP status: 401 nobody is signed in, 403 not for this user, 409 a limit. */
  status: number;
  /** What the server says, for a person. */
  reason: string;
}

export interface Member {
  id: string;
  info?: any;
}

/** An event as it came. */
export interface Event {
  channel: string;
  /** Its name; null if it was published without one. */
  event: string | null;
  /** The publisher's own id, else the event's cursor; null for a client event. */
  id: string | null;
  /** The text that was published. */
  data: string;
  /** Of a client event on a presence channel: who sent it. */
  user?: string;
}

/** What `/broadcasting/auth` answers. */
export interface Signature {
  auth: string;
  channel_data?: string;
}

/** Why a token is asked for. */
export type Why = 'connect' | 'expiring' | 'refused' | 'renew';

export interface Options {
  /** Where askrd is: `/askr` (default), or `https://live.example.com/askr`. */
  url?: string;
  /** The application's id, where one askrd serves several. */
  app?: string;
  /** `sse` (default): Server-Sent Events. `ws`: a WebSocket, whose code is loaded when it is needed. */
  transport?: 'sse' | 'ws';
  /**
   * Where the page's state was read: `askr_cursor()`. Channels that are subscribed to before the first connection begin
   * there, but for cache channels, which begin with their last event. Default: the content of `<meta name="askr-cursor">`.
   */
  cursor?: string | null;
  /**
   * The token for private and presence channels, or a function that fetches one: for the first of these channels, 30 s
   * before the token ends, when the server refuses it, and for `renew()`. One that renews a cookie returns nothing.
   * Without it the cookie `askr_token` counts.
   */
  token?: string | ((why: Why) => string | null | void | Promise<string | null | void>);
  /**
   * Signs channels for a socket id, as Laravel's `/broadcasting/auth` does, in answers by their names; one that is left out
   * is asked for without. An error with a `status` of 401 or 403 refuses: the channel whose number is in its message,
   * `channel 2: …`, from 1 on; any other is told as `error`, and it is asked again. Channels are then added to a connection
   * that has none to begin with.
   */
  authorize?: (channels: string[], socketId: string) => Promise<Record<string, Signature>>;
  /** Of all requests: `include` for cookies on another origin. */
  credentials?: 'omit' | 'same-origin' | 'include';
  /** Milliseconds without a byte after which the connection is taken for dead. Default: 45000, three pings. */
  silence?: number;
  /** Milliseconds after which a hidden page goes to sleep until it is seen again. Default: never. */
  hidden?: number;
}

/** Where a channel begins, if not at the page's cursor or now. */
export interface Where {
  /** After this cursor. */
  since?: string;
  /** At the newest events: `10`, `'30s'`, `'5m'`, `'2h'`, `'all'`. `since` wins over it. */
  rewind?: number | string;
}

/** Ends what was begun. */
export type Off = () => void;

/** One channel of a page: the same object for the same name, until it is unsubscribed. */
export interface Channel {
  readonly name: string;
  readonly state: 'subscribing' | 'subscribed' | 'refused' | 'unsubscribed';
  /** Of a presence channel: who is there, by their ids. */
  readonly members: ReadonlyMap<string, Member>;
  /** It is subscribed, also each time after a new connection. */
  on(name: 'askr:subscribed', listener: () => void): Off;
  on(name: 'askr:refused', listener: (refusal: Refusal) => void): Off;
  /** Something is gone, of this or another channel of the page: load the state anew. */
  on(name: 'askr:gap', listener: (gap: Gap) => void): Off;
  /** All members: at first, and whenever the server tells all anew. */
  on(name: 'askr:members', listener: (members: Member[]) => void): Off;
  on(name: 'askr:joined' | 'askr:left', listener: (member: Member) => void): Off;
  /** How many subscribers there are, where `app.subscription_counts` is set. */
  on(name: 'askr:count', listener: (count: number) => void): Off;
  /**
   * Events of this name; `message`: those without one; `*`: all, client events among them. `data` is what was published,
   * read as JSON if it is JSON.
   */
  on(name: string, listener: (data: any, event: Event) => void): Off;
  off(name: string, listener: (...values: any[]) => void): void;
  /**
   * A client event (`client-…`) to the channel's other subscribers. Rejected with a `ClientError` if it was not taken or
   * the channel is not subscribed: it is not kept for later.
   */
  send(event: string, data?: unknown): Promise<void>;
  unsubscribe(): void;
}

/** A request that was not taken. `status` is 0 where there was no answer. */
export class ClientError extends Error {
  readonly status: number;
}

/** The connection of a page. */
export class Client {
  constructor(options?: Options);
  readonly state: State;
  /** What `except` and `toOthers()` leave out. The same one after each reconnect; undefined before the first connection. */
  readonly socketId: string | undefined;
  /** "I have everything up to here." */
  readonly cursor: string | undefined;
  /** Those that are wanted, by their names. */
  readonly channels: ReadonlyMap<string, Channel>;
  /** Adds a channel to the connection. The one that is there, if it was added before. */
  subscribe(name: string, where?: Where): Channel;
  unsubscribe(name: string): void;
  on(type: 'state', listener: (change: StateChange) => void): Off;
  on(type: 'gap', listener: (gap: Gap) => void): Off;
  on(type: 'refused', listener: (refusal: Refusal) => void): Off;
  /** The token ends at `expires`, in seconds since 1970. It is being renewed already. */
  on(type: 'expiring', listener: (expiring: { expires: number }) => void): Off;
  /** A request about channels failed, or `token` or `authorize` threw. It is tried again. */
  on(type: 'error', listener: (error: Error) => void): Off;
  off(type: string, listener: (...values: any[]) => void): void;
  /** Somebody signed in: asks for a token, and again for the channels that were refused. */
  renew(): void;
  /** Ends the connection and all channels. Returns where each goes on, for `since`: undefined where it has not begun. */
  close(): Map<string, string | undefined>;
}

import type { Client, Options } from '@askr/client';

type Listener = (...args: any[]) => void;

declare class Dispatcher {
  bind(event: string, callback: Listener, context?: unknown): this;
  unbind(event?: string, callback?: Listener, context?: unknown): this;
  bind_global(callback: (event: string, data: any) => void): this;
  unbind_global(callback?: (event: string, data: any) => void): this;
  unbind_all(): this;
  emit(event: string, data?: unknown, metadata?: object): this;
}

/** How a channel is authorized, as pusher-js' `channelAuthorization`. */
export interface ChannelAuthorization {
  endpoint?: string;
  headers?: Record<string, string>;
  headersProvider?: () => Record<string, string>;
  params?: Record<string, string>;
  paramsProvider?: () => Record<string, string>;
  customHandler?: (
    request: { channelName: string; socketId: string },
    callback: (error: Error | null, data: { auth: string; channel_data?: string; shared_secret?: string } | null) => void,
  ) => void;
}

/** Beside these all of Echo's own: `authEndpoint`, `auth`, `bearerToken`, `csrfToken`, `authorizer`, `namespace`. */
export interface AskrOptions extends Options {
  /** Empty: channels are not signed; the token or the cookie opens them. */
  authEndpoint?: string;
  channelAuthorization?: ChannelAuthorization;
  /** tweetnacl, for encrypted channels. */
  nacl?: { secretbox: { open(box: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array | null } };
  /** Milliseconds without a connection after which its state is `unavailable`. Default: 10000. */
  unavailableTimeout?: number;
}

export interface Members {
  members: Record<string, any>;
  count: number;
  myID: string | null;
  me: { id: string; info: any } | null;
  get(id: string): { id: string; info: any } | null;
  each(callback: (member: { id: string; info: any }) => void): void;
}

/** A channel in pusher-js' form. */
export interface AskrChannel extends Dispatcher {
  readonly name: string;
  readonly pusher: AskrPusher;
  readonly subscribed: boolean;
  readonly subscriptionPending: boolean;
  readonly subscriptionCount: number | null;
  /** Of a presence channel. */
  readonly members: Members;
  /** A client event (`client-…`). False: there is no connection. */
  trigger(event: string, data: unknown): boolean;
}

/** The connection in pusher-js' form. */
export interface Connection extends Dispatcher {
  readonly state: 'initialized' | 'connecting' | 'connected' | 'unavailable' | 'disconnected';
  readonly socket_id: string | undefined;
}

/** What Echo and applications use of pusher-js, over @askr/client: Echo's option `Pusher`. */
export class AskrPusher extends Dispatcher {
  constructor(key?: string | null, options?: AskrOptions & { [more: string]: any });
  readonly key: string | null | undefined;
  readonly connection: Connection;
  readonly channels: { channels: Record<string, AskrChannel>; find(name: string): AskrChannel | undefined; all(): AskrChannel[] };
  /** The client below: its states, gaps and errors in its own words. */
  readonly client: Client;
  connect(): void;
  disconnect(): void;
  subscribe(name: string): AskrChannel;
  unsubscribe(name: string): void;
  channel(name: string): AskrChannel | undefined;
  allChannels(): AskrChannel[];
  send_event(event: string, data: unknown, channel: string): boolean;
  /** Throws: a user's own channel is of Pusher's protocol. */
  signin(): never;
}

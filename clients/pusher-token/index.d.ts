/** What pusher-js asks a handler. */
export interface AuthorizationRequest {
  channelName: string;
  socketId: string;
}

/** What a handler answers. */
export interface AuthorizationData {
  auth: string;
  channel_data?: string;
  shared_secret?: string;
}

/** `customHandler` of pusher-js. */
export type AuthorizationHandler = (
  request: AuthorizationRequest,
  callback: (error: Error | null, data: AuthorizationData | null) => void,
) => void;

/** Who the page's user is. */
export interface User {
  id: string | number;
  info?: unknown;
}

export interface TokenAuthorizationOptions {
  /**
   * The token, or a function that has or fetches one: called once for each connection. Nothing (`undefined`, `null`, an
   * empty text): the cookie `askr_token` of the handshake is used. Default: the content of `<meta name="askr-token">`.
   */
  token?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /**
   * For presence channels, where the token does not say it or the page cannot read the token. It only tells pusher-js who
   * `members.me` is; the server goes by the token. Default: the content of `<meta name="askr-user">`, as JSON.
   */
  user?: User | (() => User | undefined);
  /** Authorizes encrypted channels, whose shared secret only the application has: `endpoint()`. */
  otherwise?: AuthorizationHandler;
}

/** A handler that needs no request for each channel: `channelAuthorization: { customHandler: tokenAuthorization() }`. */
export function tokenAuthorization(options?: TokenAuthorizationOptions): AuthorizationHandler;

/** A handler that posts to the application for each channel, as pusher-js does by itself. Default: `/broadcasting/auth`. */
export function endpoint(url?: string, headers?: Record<string, string> | (() => Record<string, string>)): AuthorizationHandler;

/** What `askr:gap` brings: how many events are gone; null where only a bound is known, or nothing. */
export interface Gap {
  lost: number | null;
  at_most: number | null;
}

export interface RecoveryOptions {
  /**
   * Where the page's state was read (`askr_cursor()` in PHP): channels that are subscribed to before the first connection
   * stands begin there, but for cache channels, which begin with their last event. Default: the content of
   * `<meta name="askr-cursor">` when this is called. `null`: they begin with the connection.
   */
  cursor?: string | null;
}

/**
 * `Pusher` of pusher-js 8, with recovery: a class to be used in its place, also as Laravel Echo's option
 * `Pusher`. Connections of the given class itself stay as they are.
 */
export function withRecovery<T extends new (...args: any[]) => any>(Pusher: T, options?: RecoveryOptions): T;

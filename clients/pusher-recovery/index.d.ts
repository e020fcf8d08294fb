/** What `askr:gap` brings: how many events are gone; null where only a bound is known, or nothing. */
export interface Gap {
  lost: number | null;
  at_most: number | null;
}

/**
 * `Pusher` of pusher-js 8, with recovery: a class to be used in its place, also as Laravel Echo's option
 * `Pusher`. Connections of the given class itself stay as they are.
 */
export function withRecovery<T extends new (...args: any[]) => any>(Pusher: T): T;

import type { Gap, Off } from '@askr/client';
import type { Broadcaster } from 'laravel-echo';
import type { AskrOptions, AskrPusher } from './pusher.js';

export { AskrPusher } from './pusher.js';
export type { AskrChannel, AskrOptions, ChannelAuthorization, Connection, Members } from './pusher.js';

/** Echo's connector for pusher-js, with `AskrPusher` in place of pusher-js. */
export type AskrConnector = Omit<Broadcaster['reverb']['connector'], 'pusher'> & {
  pusher: AskrPusher;
  /** Something is gone on a channel of the page: load the state anew. Returns a function that ends it. */
  onGap(callback: (gap: Gap) => void): Off;
};

/** `new Echo({ broadcaster: AskrConnector })`. */
export const AskrConnector: new (options: AskrOptions & { [more: string]: any }) => AskrConnector;

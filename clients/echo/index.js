// A connector for Laravel Echo 2 over @askr/client: `new Echo({ broadcaster: AskrConnector })`.
//
// It is Echo's connector for pusher-js, on `AskrPusher` in place of pusher-js, so that every kind of channel of Echo's does
// here what it does there. Echo does not export that class; an Echo that connects nowhere shows it.

import Echo from 'laravel-echo';
import { AskrPusher } from './pusher.js';

const nowhere = new Echo({ broadcaster: 'pusher', client: {}, withoutInterceptors: true });
const PusherConnector = nowhere.connector.constructor;

export class AskrConnector extends PusherConnector {
  connect() {
    this.pusher = this.options.client ?? new AskrPusher(this.options.key, this.options);
  }

  /** Something is gone on a channel of the page: the state has to be loaded anew. Returns a function that ends it. */
  onGap(callback) {
    this.pusher.bind('askr:gap', callback);
    return () => this.pusher.unbind('askr:gap', callback);
  }
}

export { AskrPusher };

// What the types of clients/echo, clients/pusher-token and clients/pusher-recovery allow, and what they do not. Compiled, not run.

import Echo from 'laravel-echo';
import Pusher from 'pusher-js';
import nacl from 'tweetnacl';
import { AskrConnector, AskrPusher } from '@askr/echo';
import type { AskrOptions, Members } from '@askr/echo';
import { AskrPusher as Alone } from '@askr/echo/pusher';
import { withRecovery } from '@askr/pusher-recovery';
import { endpoint, tokenAuthorization } from '@askr/pusher-token';

const options: AskrOptions = { url: '/askr', transport: 'ws', token: async () => 'a.b.c', authEndpoint: '', nacl };
// @ts-expect-error: there is no such transport
const wrong: AskrOptions = { transport: 'udp' };

// A connector's channels are any, as of every connector of one's own; those of `reverb` have their types.
const echo = new Echo({ ...options, broadcaster: AskrConnector });
echo.private('orders.7').listen('OrderPaid', () => undefined);
const connector = new AskrConnector(options);
const off: () => void = connector.onGap(({ lost, at_most: most }) => [lost, most]);
const status: string = connector.connectionStatus();

// Echo's types want all of pusher-js' class.
const typed = new Echo<'reverb'>({ broadcaster: 'reverb', key: '', Pusher: AskrPusher as never });
typed.join('team').here((members: unknown[]) => members.length).joining(() => undefined);
// @ts-expect-error: a public channel has no members
typed.channel('orders').here(() => undefined);

const pusher: AskrPusher = new Alone(null, options);
const members: Members | undefined = pusher.channel('presence-team')?.members;
const state: 'initialized' | 'connecting' | 'connected' | 'unavailable' | 'disconnected' = pusher.connection.state;
pusher.client.renew();
pusher.subscribe('orders').bind('paid', (order: { id: number }) => order.id).unbind_all();
// @ts-expect-error: a channel's name is a text
pusher.subscribe(7);

const Recovering = withRecovery(Pusher, { cursor: null });
new Recovering('key', { cluster: '', channelAuthorization: { customHandler: tokenAuthorization() } });
withRecovery(Pusher);
// @ts-expect-error: a cursor is a text
withRecovery(Pusher, { cursor: 7 });
new Pusher('key', {
  cluster: '',
  channelAuthorization: {
    customHandler: tokenAuthorization({ token: async () => null, user: { id: 7 }, otherwise: endpoint('/broadcasting/auth', () => ({ 'X-CSRF-TOKEN': '' })) }),
  },
});
// @ts-expect-error: a user has an id
tokenAuthorization({ user: { name: 'Ada' } });

export { echo, members, off, state, status, wrong };

// What a page may write with the types of clients/js, and what it may not. Checked by tsc, never run.

import { Client, ClientError } from '../../clients/js/index.js';
import type { Channel, Event, Gap, Member, Refusal, State, StateChange, Where } from '../../clients/js/index.js';

const client = new Client({ token: async (why) => (why === 'connect' ? 'token' : null), transport: 'ws', hidden: 60_000, cursor: null });
new Client();
new Client({ token: 'token' });
new Client({ token: () => {} });

const where: Where = { rewind: '5m' };
const channel: Channel = client.subscribe('orders', where);
const off = channel.on('order', (order: { id: number }, event: Event) => event.id?.length);
channel.on('askr:gap', (gap: Gap) => gap.lost ?? gap.at_most);
channel.on('askr:members', (members: Member[]) => members.map(({ id, info }) => [id, info]));
channel.on('askr:refused', (refusal: Refusal) => refusal.status + refusal.reason.length);
off();
channel.send('client-typing', { n: 1 }).catch((error: ClientError) => error.status);
const members: ReadonlyMap<string, Member> = channel.members;

client.on('state', (change: StateChange) => {
  const state: State = change.state;
  return [state, change.retryIn?.toFixed(), members.size];
});
client.on('expiring', ({ expires }) => expires.toFixed());
client.on('error', (error) => error.message);
client.channels.get('orders')?.unsubscribe();
const after: string | undefined = client.close().get('orders');
client.subscribe('orders', { since: after });

// @ts-expect-error There is no such transport.
new Client({ transport: 'sockets' });
// @ts-expect-error A state is not written.
client.state = 'closed';
// @ts-expect-error There is no such event of a client.
client.on('gone', () => {});
// @ts-expect-error A channel has a name.
client.subscribe();

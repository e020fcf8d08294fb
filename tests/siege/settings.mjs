// What askrd is given for the siege and the churn: every bound small, so that it is reached within seconds;
// the ring large, so that no healthy reader can be lapped.

/** The secret is nobody's; readers and churn sign with it in processes of their own. */
export const APP = { id: '7', key: 'siege', secret: 'a-secret-of-nobody-for-a-siege' };

/** `application`: where askrd asks who may listen. */
export function settings(application, port, socket) {
  return {
    ring: { slots: 16384, arena: '64MiB', max_payload: '512KiB' },
    server: {
      listen: [`unix:${socket}`, `127.0.0.1:${port}`],
      workers: 2,
      max_connections: 3000,
      // Set, so that loopback addresses are counted as any others are.
      connections_per_address: 600,
      max_channels: 4000,
      header_timeout: 3,
      write_timeout: 5,
      outbox_total: '8MiB',
      outbox_bytes: '512KiB',
      outbox_frames: 64,
      ping: 2,
      retry: 200,
    },
    broadcast: { index_entries: 32768, index_channels: 2000, queue: 2048 },
    app: {
      ...APP,
      auth_url: `${application.url}/auth`,
      auth_calls: 8,
      members: 1000,
      presence_grace: 0,
      client_event_bytes: '1KiB',
    },
  };
}

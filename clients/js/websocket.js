// A connection by Askr's plain protocol. Channels are added to it as to one by Server-Sent Events, by requests, because a
// browser does not tell why a WebSocket was refused. What comes is handed to a machine (`sink`), and nothing once the
// signal is aborted.

export function socket(url, signal, sink) {
  if (signal.aborted) return;
  const socket = new WebSocket(new URL(url, location).href.replace('http', 'ws'));
  signal.addEventListener('abort', () => {
    socket.onmessage = socket.onclose = null;
    // Not a code that says that a member left on purpose: most often the page comes back at once.
    socket.close(4000);
  });
  socket.onmessage = ({ data }) => {
    try {
      const { cursor, ...message } = JSON.parse(data);
      sink.heard();
      if ('data' in message) sink.event(message);
      else for (const kind in message) sink.told(kind, message[kind], cursor);
      if (cursor) sink.moved(cursor);
    } catch (error) {
      sink.ended(error.message);
    }
  };
  socket.onclose = ({ code, reason }) => sink.ended(reason || `closed with ${code}`);
}

// A connection by Server-Sent Events, read from fetch() rather than by EventSource: a refusal has a status, a token goes
// into a header, and an end is seen. What comes is handed to a machine (`sink`), and nothing once the signal is aborted.

/**
 * An event stream as askrd writes it: lines of `field: value`, each once (its data is JSON, on one line) and with LF, and
 * an empty one after each block. Returns what takes its text, and passes on the fields of each block.
 */
export function blocks(pass) {
  let rest = '', fields = {};
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      if (line) {
        const colon = line.indexOf(': ');
        fields[line.slice(0, colon)] = line.slice(colon + 2);
      } else {
        pass(fields);
        fields = {};
      }
    }
  };
}

export async function events(url, init, sink) {
  const { signal } = init;
  const end = (...why) => signal.aborted || sink.ended(...why);
  try {
    const response = await fetch(url, init);
    if (!response.ok) return end(...await refusal(response));
    const push = blocks(({ event, data, id, retry }) => {
      // A listener may have ended it, before the rest of a piece.
      if (signal.aborted) return;
      if (retry) sink.told('retry', +retry);
      const value = data && JSON.parse(data);
      if (event) sink.told(event.slice(5), value, value.cursor);
      else if (value) sink.event(value);
      // An event with an id of its own shows that; its cursor follows in a block of its own.
      if (id && !value?.at) sink.moved(id);
    });
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return end('closed');
      sink.heard();
      push(decoder.decode(value, { stream: true }));
    }
  } catch (error) {
    end(error.message);
  }
}

/** What a refused request says: a line, the status, and the seconds of Retry-After. */
export async function refusal(response) {
  return [(await response.text()).trim(), response.status, response.headers.get('retry-after')];
}

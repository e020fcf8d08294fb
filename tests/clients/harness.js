// In the pages of the tests: starts a client, and keeps what each channel was told.

import { Client } from '/client/index.js';

window.loaded = performance.now();

window.start = (options, channels) => {
  const { tokens, ...rest } = options;
  if (tokens) {
    rest.token = async (why) => {
      window.asked.push(why);
      const answer = await fetch('/token', { method: 'POST', body: JSON.stringify(tokens) });
      return (await answer.json()).token;
    };
  }
  window.asked = [];
  window.states = [];
  window.problems = [];
  window.refused = [];
  window.gaps = [];
  window.seen = {};
  window.client = new Client(rest);
  window.client.on('state', (change) => window.states.push(change));
  window.client.on('refused', (refusal) => window.refused.push(refusal));
  window.client.on('gap', (gap) => window.gaps.push(gap));
  window.client.on('error', (error) => window.problems.push(error.message));
  for (const name of channels) window.join(name);
};

window.join = (name, where) => {
  const seen = window.seen[name] = { events: [], told: [] };
  const channel = window.client.subscribe(name, where);
  channel.on('*', (data, event) => seen.events.push(event.id === null ? event : data));
  for (const what of ['subscribed', 'refused', 'members', 'joined', 'left']) {
    channel.on(`askr:${what}`, (data) => seen.told.push([what, data]));
  }
};

window.ready = true;

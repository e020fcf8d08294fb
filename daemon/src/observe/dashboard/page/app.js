// The dashboard. What it shows is text, whoever wrote it: it gets into the page by textContent alone.
'use strict';

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const shown = (value) => (value === null || value === undefined ? '–' : (value < 100 ? number : whole).format(value));
const bytes = (value) => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let n = 0;
  for (; value >= 1024 && n < units.length - 1; n += 1) value /= 1024;
  return `${shown(value)} ${units[n]}`;
};
const seconds = (value) => {
  if (value < 120) return `${number.format(value)} s`;
  if (value < 7200) return `${number.format(value / 60)} min`;
  return `${number.format(value / 3600)} h`;
};
const micros = (value) => {
  if (value === null || value <= 0) return '–';
  if (value < 1000) return `≤ ${shown(value)} µs`;
  return value < 1e6 ? `≤ ${shown(value / 1000)} ms` : `≤ ${shown(value / 1e6)} s`;
};

/** An element with text, and what is set on it. */
function element(name, text, set = {}) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(set)) made.setAttribute(key, value);
  return made;
}

/**
 * Rows of a table: each cell is text, or an element. A row that was there before, by its first cell, stays the same element,
 * so that a focus stays, and a click hits what was meant. `shares`: of each row, how much of the largest it is, 0 to 1.
 */
function rows(table, all, shares) {
  const body = table.tBodies[0];
  const words = (cell) => (cell instanceof Node ? cell.textContent : cell);
  const numbers = [...table.tHead.rows[0].cells].map((head) => head.classList.contains('n'));
  const before = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const seen = new Map();
  const focused = document.activeElement;
  all.forEach((cells, at) => {
    const nth = (seen.get(words(cells[0])) ?? 0) + 1;
    seen.set(words(cells[0]), nth);
    const key = `${nth} ${words(cells[0])}`;
    let row = before.get(key);
    before.delete(key);
    if (!row) {
      row = element('tr', null, { 'data-key': key });
      row.append(...cells.map((cell, n) => {
        const td = element('td', null, numbers[n] ? { class: 'n' } : {});
        td.append(cell);
        return td;
      }));
    }
    cells.forEach((cell, n) => { if (row.cells[n].textContent !== words(cell)) row.cells[n].replaceChildren(cell); });
    if (shares) row.style.setProperty('--share', `${(100 * shares[at]).toFixed(1)}%`);
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null);
  });
  before.forEach((row) => row.remove());
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function list(of, pairs) {
  of.replaceChildren(...pairs.map(([name, value]) => {
    const pair = element('div');
    pair.append(element('dt', name), element('dd', value, { 'data-of': name }));
    return pair;
  }));
}

// Charts: the last minute and the last hour.
const CHARTS = [
  ['streams', 'streams', shown], ['events', 'events a second', shown], ['frames', 'frames a second', shown],
  ['bytes', 'bytes a second', bytes], ['p99_us', 'publish to write, p99', micros], ['lag', 'ring: positions behind', shown],
  ['gaps', 'gaps a second', shown], ['refused', 'refused a second', shown], ['cores', 'cores busy', (n) => n.toFixed(n < 0.1 ? 3 : 2)],
  ['rss', 'resident memory', bytes],
];
const SVG = 'http://www.w3.org/2000/svg';
let values = [];
let past = { minute: [], hour: [] };
let span = 'minute';
let pushed = 0;

const charts = CHARTS.map(([key, name, form]) => {
  const figure = element('figure');
  const caption = element('figcaption');
  const value = element('b', '–', { 'data-chart': key });
  const peak = element('small', '');
  caption.append(element('span', name), value, peak);
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 59 20');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  const area = document.createElementNS(SVG, 'polygon');
  const curve = document.createElementNS(SVG, 'polyline');
  svg.append(area, curve);
  figure.append(caption, svg);
  $('charts').append(figure);
  const chart = { key, name, value, peak, area, curve, form, pointed: null };
  svg.addEventListener('pointermove', ({ clientX }) => {
    const { left, width } = svg.getBoundingClientRect();
    chart.pointed = Math.min(59, Math.max(0, Math.round((59 * (clientX - left)) / width)));
    draw();
  });
  svg.addEventListener('pointerleave', () => { chart.pointed = null; draw(); });
  return chart;
});

function draw() {
  const samples = past[span];
  const latest = past.minute.at(-1);
  if (!latest) return;
  for (const { key, name, value, peak, area, curve, form, pointed } of charts) {
    const n = values.indexOf(key);
    const series = samples.map((sample) => Math.max(0, sample[n]));
    const from = 60 - series.length;
    const top = Math.max(1e-9, ...series);
    const points = series.map((y, x) => `${from + x},${(19.5 - (y / top) * 18).toFixed(2)}`);
    curve.setAttribute('points', points.join(' '));
    area.setAttribute('points', points.length ? [`${from},20`, ...points, '59,20'].join(' ') : '');
    const looked = pointed === null ? undefined : series[pointed - from];
    value.textContent = form(looked ?? latest[n]);
    peak.textContent = looked === undefined ? `peak ${form(top < 1e-6 ? 0 : top).replace('≤ ', '')}`
      : `${59 - pointed} ${span === 'minute' ? 's' : 'min'} ago`;
    curve.parentElement.setAttribute('aria-label', `${name}: ${form(latest[n])}, at most ${form(top < 1e-6 ? 0 : top)} in ${span === 'minute' ? 'a minute' : 'an hour'}`);
  }
}

for (const button of document.querySelectorAll('[data-span]')) {
  button.addEventListener('click', () => {
    span = button.dataset.span;
    for (const other of document.querySelectorAll('[data-span]')) other.setAttribute('aria-pressed', String(other === button));
    draw();
  });
}

function add(sample) {
  past.minute = [...past.minute, sample].slice(-60);
  pushed += 1;
  if (pushed % 60 === 0) {
    const mean = sample.map((_, n) => past.minute.reduce((sum, one) => sum + one[n], 0) / past.minute.length);
    past.hour = [...past.hour, mean].slice(-60);
  }
  draw();
}

const sum = (of) => Object.values(of).reduce((all, one) => all + one, 0);
const named = (of) => Object.entries(of).map(([name, count]) => `${name} ${shown(count)}`).join(', ');
/** A name with its application, where there are several. */
const several = (now, app, name) => (now.applications.length > 1 ? `${app}: ${name}` : name);

/** A channel's name, by which it can be asked for below. */
function channelButton({ app, channel, name }) {
  const button = element('button', name, { type: 'button', class: 'name' });
  button.addEventListener('click', () => {
    const form = $('channel');
    form.elements.app.value = app;
    form.elements.channel.value = channel;
    form.querySelector('[value=members]').focus();
    form.scrollIntoView({ block: 'center' });
  });
  return button;
}

function limits(now) {
  const own = now.applications.flatMap((app) => app.limits.map((one) => ({ ...one, name: several(now, app.id, one.name) })));
  const all = [...now.budgets.map((one) => ({ ...one, form: bytes, name: `memory: ${one.name.replace('_', ' ')}` })), ...now.limits, ...own];
  $('budgets').replaceChildren(...all.map(({ name, setting, used, most, form = shown }) => {
    const share = used / Math.max(most, 1);
    const budget = element('div', null, { class: share >= 0.95 ? 'budget full' : share >= 0.8 ? 'budget high' : 'budget' });
    const head = element('p');
    head.append(element('span', name), element('span', `${form(used)} of ${form(most)}`));
    const bar = element('progress', null, { max: Math.max(most, 1), value: Math.min(used, most), 'aria-label': name });
    budget.append(head, bar, element('code', setting));
    return budget;
  }));
}

function show(now) {
  const { totals, applications } = now;
  $('state').textContent = `askrd ${now.version}, up ${seconds(now.uptime)}${now.ready ? ` – not ready: ${now.ready}` : ''}`;
  $('state').classList.toggle('away', Boolean(now.ready));
  const by = (transport) => applications.reduce((all, app) => all + app.streams[transport], 0);
  list($('connections'), [
    ['connections', shown(totals.connections)], ['streams', shown(totals.streams)], ['SSE', shown(by('sse'))],
    ['WebSocket', shown(by('websocket'))], ['Pusher', shown(by('pusher'))], ['subscriptions', shown(totals.subscriptions)],
    ['channels', shown(totals.channels)], ['members', shown(totals.members)], ['accepted', shown(totals.accepted)],
  ]);
  list($('flow'), [
    ['events read', shown(totals.events)], ['frames sent', shown(totals.frames)], ['bytes written', bytes(totals.bytes)],
    ['publish to write, p50', micros(now.latency.p50_us)], ['publish to write, p99', micros(now.latency.p99_us)],
    ['ring: behind', shown(applications.reduce((all, app) => all + app.lag, 0))],
    ['ring: history', seconds(Math.min(...applications.map((app) => app.history)))],
    ['not published', shown(applications.reduce((all, app) => all + sum(app.failures), 0) + sum(now.unclaimed))],
  ]);
  list($('replay'), [
    ['events replayed', shown(totals.replayed)], ['gaps told', shown(totals.gaps)], ['positions lost', shown(totals.lost)],
    ['unknown cursors', shown(totals.unknown_cursors)], ['rewinds', shown(totals.rewinds)], ['workers overrun', shown(totals.overruns)],
  ]);
  limits(now);
  rows($('apps'), [
    ...applications.map((app) => [app.id, shown(app.streams.sse), shown(app.streams.websocket), shown(app.streams.pusher), shown(app.channels),
      shown(app.members), shown(app.events), shown(app.frames), shown(app.lag), seconds(app.history), named(app.failures) || '0']),
    ...(sum(now.unclaimed) ? [['(a ring that is not served here)', '', '', '', '', '', '', '', '', '', named(now.unclaimed)]] : []),
  ]);
  const ranked = (key) => applications.flatMap((app) => app.looked[key].map((one) => ({ ...one, app: app.id, name: several(now, app.id, one.channel) })))
    .sort((a, b) => b.count - a.count).slice(0, 20);
  const shares = (all) => all.map(({ count }) => count / all[0].count);
  const busiest = ranked('busiest');
  rows($('busiest'), busiest.map((one) => [channelButton(one), shown(one.count), shown(one.count / 60)]), shares(busiest));
  $('busiest-note').textContent = applications.every((app) => app.looked.busiest_exact) ? '' : ', at most';
  const largest = ranked('largest');
  rows($('largest'), largest.map((one) => [channelButton(one), shown(one.count)]), shares(largest));
  list($('slow-totals'), [
    ['switched to replay', shown(totals.slow_replayed)], ['skipped ahead', shown(totals.slow_skipped)], ['events skipped', shown(totals.skipped)],
    ['disconnected', shown(totals.closed_slow)], ['waiting', bytes(totals.waiting_bytes)],
  ]);
  rows($('slow'), applications.flatMap((app) => app.looked.slow.map((one) => {
    const button = element('button', 'End', { type: 'button', 'aria-label': `End ${one.socket}` });
    button.addEventListener('click', () => sure({ app: app.id, socket: one.socket }));
    return [one.socket, one.user ?? '', one.transport, shown(one.channels), bytes(one.bytes), one.replays ? 'replays' : 'waits', button];
  })));
  const { over, statuses, reasons, notes } = now.refusals;
  list($('refusals'), [
    ...reasons.map(({ reason, count }) => [`reason: ${reason}`, shown(count)]),
    ...over.map(({ limit, count, setting }) => [`limit: ${limit} (${setting})`, shown(count)]),
    ...statuses.map(({ status, count }) => [`status ${status}`, shown(count)]),
    ...applications.flatMap((app) => Object.entries(app.members_refused).map(([limit, count]) => [several(now, app.id, `presence: ${limit}`), shown(count)])),
  ]);
  $('notes').replaceChildren(...notes.map(({ ago, text }) => {
    const item = element('li');
    item.append(element('time', `${seconds(ago)} ago`), text);
    return item;
  }));
  $('drain-stop').hidden = now.draining === null;
  $('hosts').hidden = $('hosts-link').hidden = now.nodes.length === 0;
  rows($('nodes'), now.nodes.flatMap((view) => [
    ...(view.trouble ? [[view.application, view.trouble, '', 'cut off', '', `${shown(view.out_events)} to relay`]] : []),
    ...view.nodes.map((node) => [view.application, node.name || node.origin, node.version, node.own ? 'this one' : node.alive ? 'lives' : 'dead',
      node.own ? '' : `${seconds(node.seconds)} ago`, node.own ? `${shown(view.out_events)} to relay` : `${shown(node.lag)} to import`]),
  ]));
  const ids = applications.map((app) => app.id);
  for (const select of document.querySelectorAll('select[name=app]')) {
    if (select.options.length !== ids.length) select.replaceChildren(...ids.map((id) => element('option', id, { value: id })));
    select.parentElement.hidden = ids.length === 1;
  }
}

// Live, for as long as the page is open, also over a restart of askrd.
let source;
function live() {
  source = new EventSource('/live');
  source.addEventListener('past', ({ data }) => {
    const first = JSON.parse(data);
    values = first.values;
    past = first.past;
    pushed = past.minute.length % 60;
    draw();
  });
  source.addEventListener('now', ({ data }) => {
    const now = JSON.parse(data);
    add(now.sample);
    show(now);
  });
  source.addEventListener('error', () => {
    $('state').textContent = 'askrd is away; this page goes on when it is back';
    $('state').classList.add('away');
    if (source.readyState !== EventSource.CLOSED) return;
    // Refused: the session has ended, or askrd is not there yet.
    setTimeout(async () => {
      const answer = await fetch('/live', { method: 'HEAD', cache: 'no-store' }).catch(() => null);
      if (answer?.status === 401) return location.reload();
      if (answer?.status === 503) $('state').textContent = 'as many pages are open as askrd serves; this one goes on when another is closed';
      live();
    }, 1000);
  });
}
live();

// What is asked for.
async function ask(path, body) {
  const answer = await fetch(path, body === undefined ? { cache: 'no-store' } : {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  if (answer.status === 401) location.reload();
  const text = await answer.text();
  if (!answer.ok) throw new Error(text.trim());
  return { ...JSON.parse(text), stale: ['Askr-Members', 'Askr-History'].some((name) => answer.headers.get(name) === 'stale') };
}

const table = $('channel-table');
function columns(...names) {
  const row = element('tr');
  row.append(...names.map((name) => element('th', name, { scope: 'col' })));
  table.tHead.replaceChildren(row);
  table.tBodies[0].replaceChildren();
  delete table.tBodies[0].dataset.shown;
}

const SHOW = {
  members({ members, all, stale }, app) {
    columns('user', 'info', '');
    rows(table, members.map(({ id, info }) => {
      const button = element('button', 'End', { type: 'button', 'aria-label': `End ${id}` });
      button.addEventListener('click', () => sure({ app, user: id }));
      return [id, info === null ? '' : JSON.stringify(info), button];
    }));
    return `${shown(all)} members${all > members.length ? `, the first ${members.length} of them` : ''}`
      + `${stale ? '; other hosts cannot be reached: theirs are those of when they were last heard of' : ''}`;
  },
  events({ events, stale }) {
    columns('time', 'cursor', 'event', 'id', 'data');
    rows(table, events.map(({ time, cursor, event, id, data }) => [new Date(time * 1000).toLocaleTimeString(), cursor, event ?? '', id ?? '', data]));
    return `${events.length} events, the newest last${stale ? '; other hosts cannot be reached: what they have published since is not there' : ''}`;
  },
};

const WHY = {
  except: 'left out by the publisher', replays: 'replays, gets it from the ring', has_it: 'subscribed later, or has it from a replay', erased: 'erased',
};
const HAPPENED = {
  read: (record) => `read from the ring, ${shown(record.bytes)} bytes, ${record.workers.length ? `for workers ${record.workers.join(', ')}` : 'nobody listens'}`,
  sent: (record) => [`worker ${record.worker}: ${shown(record.streams)} streams get it, ${shown(record.passed_over)} do not`,
    ...record.some.map(({ socket, why }) => `${socket} (${WHY[why]})`)].join('; '),
  written: (record) => `worker ${record.worker}: written${record.waiting ? `, queued for ${shown(record.waiting)}` : ''}`,
  refused: (record) => `a subscription was refused: ${record.why}`,
};

// What happens on a channel, for a minute, or until something else is asked for.
let tracing = 0;
async function trace(query) {
  const own = tracing += 1;
  const published = new Map();
  let all = [];
  let seen = 0;
  let lost = 0;
  let interrupted = false;
  let after;
  const found = () => `${shown(seen)} records${seen > all.length ? `, the newest ${all.length} of them` : ''}${lost ? `, ${shown(lost)} were lost: there were too many` : ''}${
    interrupted ? '; in between nobody asked for a while, and what happened then was not noted' : ''}`;
  columns('cursor', 'after', 'what');
  for (const end = Date.now() + 60000; own === tracing && Date.now() < end;) {
    if (after !== undefined) query.set('after', after);
    const answer = await ask(`/trace?${query}`);
    if (own !== tracing) return;
    const { records } = answer;
    after = answer.next;
    seen += records.length;
    lost += answer.lost;
    interrupted ||= answer.interrupted;
    all = [...all, ...records.map((record) => {
      if (record.what === 'read') published.set(record.cursor, record.published);
      const from = published.get(record.cursor);
      return [record.cursor ?? '', from === undefined ? '' : `${shown(Math.max(0, record.at - from) / 1000)} µs`, HAPPENED[record.what](record)];
    })].slice(-200);
    rows(table, all);
    $('channel-said').textContent = `tracing for a minute: ${found()}`;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  if (own === tracing) $('channel-said').textContent = `traced: ${found()}`;
}

$('channel').addEventListener('submit', async (submitted) => {
  submitted.preventDefault();
  const form = new FormData(submitted.target);
  const what = submitted.submitter?.value ?? 'members';
  const query = new URLSearchParams({ app: form.get('app'), channel: form.get('channel') });
  try {
    if (what === 'trace') return await trace(query);
    tracing += 1;
    $('channel-said').textContent = SHOW[what](await ask(`/${what}?${query}`), form.get('app'));
  } catch (error) {
    columns();
    $('channel-said').textContent = error.message;
  }
});

// What is done only after it was asked whether it should be.
let meant;
function confirm(text, action) {
  meant = action;
  $('sure-text').textContent = text;
  $('sure').returnValue = 'no';
  $('sure').showModal();
}
$('sure').addEventListener('close', () => { if ($('sure').returnValue === 'yes') meant(); });

async function order(said, path, body, done) {
  try {
    $(said).textContent = done(await ask(path, body));
  } catch (error) {
    $(said).textContent = error.message;
  }
}

function sure(whom) {
  const text = whom.socket ? `End the connection ${whom.socket}? Its client may reconnect.`
    : `End all connections of the user ${whom.user}, and refuse the tokens issued until now?`;
  confirm(text, () => order('end-said', '/end', whom, ({ ended, hosts_missing: away }) =>
    `${ended} ended (${whom.socket ?? whom.user})${away ? `; hosts that did not answer: ${away}` : ''}`));
}
$('end').addEventListener('submit', (submitted) => {
  submitted.preventDefault();
  const form = new FormData(submitted.target);
  sure({ app: form.get('app'), [form.get('kind')]: form.get('id') });
});

$('drain').addEventListener('submit', (submitted) => {
  submitted.preventDefault();
  const over = Number(new FormData(submitted.target).get('over'));
  confirm(`Let all viewers go, over ${over} seconds, and turn new ones away until it is stopped?`,
    () => order('drain-said', '/drain', { over }, () => 'it has begun'));
});
$('drain-stop').addEventListener('click', () => order('drain-said', '/drain', { stop: true }, () => 'viewers are welcome again'));

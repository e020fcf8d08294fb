<?php

// The site of tests/e2e/state.test.mjs under FPM: items in a database, and pages that show them.
//
//   GET /page    the page: the cursor first, then the state
//   GET /items   the state alone: {"version":…,"items":{"id":version}}

require __DIR__ . '/state_database.php';

$path = strtok($_SERVER['REQUEST_URI'], '?');
if ($path === '/items') {
    header('Content-Type: application/json');
    exit(json_encode(state()));
}
if ($path !== '/page') {
    http_response_code(404);
    exit;
}
// In this order: what is published in between is in the state and comes again, and nothing is missed.
$cursor = askr_cursor();
$state = state();
header('Content-Type: text/html; charset=utf-8');
header('Cache-Control: no-store');
?>
<!doctype html>
<meta charset="utf-8">
<meta name="askr-cursor" content="<?= htmlspecialchars((string) $cursor) ?>">
<script>
  const state = <?= json_encode($state) ?>;
  // By id: an event may be in the state and in the stream, and then it is the same.
  const items = new Map(Object.entries(state.items));
  const known = new Set(), problems = [];
  const cursor = document.querySelector('meta[name=askr-cursor]').content;
  const events = new EventSource('/askr/events?channel=items&last_event_id=' + cursor);
  events.onmessage = ({ data }) => {
    const { id, version } = JSON.parse(data);
    known.add(version);
    if (version > (items.get(String(id)) ?? 0)) items.set(String(id), version);
  };
  events.addEventListener('askr:gap', ({ data }) => problems.push('gap: ' + data));
  /** Versions up to `last` that neither the state nor the stream had. */
  const missing = last => {
    const found = [];
    for (let version = state.version + 1; version <= last; version += 1) if (!known.has(version)) found.push(version);
    return found;
  };
</script>

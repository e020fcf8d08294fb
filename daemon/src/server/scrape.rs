//! `GET /metrics`: gathers what is counted elsewhere (by each worker, each application, the log), and writes the
//! Prometheus text format.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use shared::segment::now_s;

use crate::app::application::App;
use crate::auth::{http_call, rotation};
use crate::hub::hub::Hub;
use crate::outbound::webhooks;
use crate::process::logging;
use crate::process::metrics::Metrics;
use crate::process::refusals;
use crate::process::refusals::Reason;
use crate::process::state::Process;

/// The metrics as they are now.
pub fn text(process: &Process, apps: &[Arc<App>]) -> String {
    let metrics = &process.metrics;
    gather_process(process);
    gather_rings(metrics, apps);
    gather_members(metrics, apps);
    gather_auth(metrics, apps);
    gather_webhooks(metrics, apps);
    let mut text = metrics.to_text();
    write_history(&mut text, apps);
    write_refusals(&mut text);
    write_histograms(&mut text, process);
    text
}

fn hubs(apps: &[Arc<App>]) -> impl Iterator<Item = &Hub> + Clone {
    apps.iter().map(|app| &*app.hub)
}

fn gather_process(process: &Process) {
    let (metrics, workers) = (&process.metrics, &process.workers);
    metrics.connections.set(process.limits.connections() as u64);
    metrics.outbox_bytes.set(process.memory.waiting.get());
    metrics.held_bytes.set(process.memory.used());
    metrics
        .delivered
        .set(workers.sum(|worker| &worker.delivered));
    metrics.bytes.set(workers.sum(|worker| &worker.bytes));
    metrics.replayed.set(workers.sum(|worker| &worker.replayed));
    metrics.scanned.set(workers.sum(|worker| &worker.scanned));
    let turns = workers.merged(|worker| &worker.turns);
    metrics.wakes.set(turns.count());
    let (waiting, lost) = logging::counts();
    metrics.log_waiting.set(waiting as u64);
    metrics.log_lost.set(lost);
    metrics.refusals_unlogged.set(refusals::unlogged());
}

fn gather_rings(metrics: &Metrics, apps: &[Arc<App>]) {
    let hubs = hubs(apps);
    let lag = |hub: &Hub| {
        let completed = hub.watermarks.completed();
        hub.segments.head().saturating_sub(completed)
    };
    let sum = |of: fn(&Hub) -> u64| -> u64 { hubs.clone().map(of).sum() };
    metrics.behind.set(hubs.clone().map(lag).sum());
    metrics.events.set(sum(|hub| hub.tailed.events.get()));
    metrics.handoffs.set(sum(|hub| hub.tailed.deliveries.get()));
    metrics
        .channels
        .set(sum(|hub| hub.routes.channels() as u64));
    metrics
        .index_entries
        .set(sum(|hub| hub.index.entries() as u64));
    metrics
        .erased_channels
        .set(sum(|hub| hub.index.erased.len() as u64));
    metrics
        .last_events_forgotten
        .set(sum(|hub| hub.last_events.forgotten()));
}

fn gather_members(metrics: &Metrics, apps: &[Arc<App>]) {
    let counts = apps.iter().map(|app| app.roster.counts());
    let (members, refused) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    metrics.members.set(members as u64);
    metrics.members_refused.set(refused);
}

fn gather_auth(metrics: &Metrics, apps: &[Arc<App>]) {
    let http = apps.iter().filter_map(|app| app.authority.http());
    let sum = |of: fn(&http_call::Counts) -> &AtomicU64| -> u64 {
        let calls = http.clone();
        calls.map(|http| of(&http.counts).load(Relaxed)).sum()
    };
    metrics.auth_asked.set(sum(|counts| &counts.asked));
    metrics.auth_refused.set(sum(|counts| &counts.refused));
    metrics.auth_away.set(sum(|counts| &counts.away));
    metrics.auth_full.set(sum(|counts| &counts.full));
    metrics.auth_share.set(sum(|counts| &counts.share));
    metrics.auth_anonymous.set(sum(|counts| &counts.anonymous));
    metrics.auth_cached.set(sum(|counts| &counts.cached));
    let tokens = apps.iter().filter_map(|app| app.authority.tokens());
    let rotations = tokens.clone().filter_map(|tokens| tokens.rotation());
    let sum = |of: fn(&rotation::Counts) -> &AtomicU64| -> u64 {
        let rotations = rotations.clone();
        let counts = rotations.map(|rotation| of(rotation.counts()).load(Relaxed));
        counts.sum()
    };
    metrics.secrets_changed.set(sum(|counts| &counts.changed));
    metrics
        .secrets_unchanged
        .set(sum(|counts| &counts.unchanged));
    metrics.secrets_failed.set(sum(|counts| &counts.failed));
    metrics.secrets_later.set(sum(|counts| &counts.later));
    let ahead = tokens.clone().filter_map(|tokens| tokens.ahead(now_s()));
    metrics.revocations_ahead.set(ahead.count() as u64);
    let files = tokens.filter_map(|tokens| tokens.file());
    metrics
        .revocations_unsaved
        .set(files.map(|file| file.failed()).sum());
}

fn gather_webhooks(metrics: &Metrics, apps: &[Arc<App>]) {
    let hooks = hubs(apps).filter_map(|hub| hub.webhooks.as_ref());
    let sum = |of: fn(&webhooks::Counts) -> &AtomicU64| -> u64 {
        let hooks = hooks.clone();
        hooks.map(|hooks| of(&hooks.counts).load(Relaxed)).sum()
    };
    metrics.hooks_delivered.set(sum(|counts| &counts.delivered));
    metrics.hooks_dropped.set(sum(|counts| &counts.dropped));
    metrics.hooks_share.set(sum(|counts| &counts.share));
    metrics.hooks_given_up.set(sum(|counts| &counts.given_up));
    metrics.hooks_failed.set(sum(|counts| &counts.failed));
    metrics
        .hooks_waiting
        .set(hooks.map(|hooks| hooks.waiting() as u64).sum());
}

/// A gauge whose value is not a whole number.
fn write_history(text: &mut String, apps: &[Arc<App>]) {
    let ages = hubs(apps).map(|hub| hub.segments.history_seconds());
    let seconds = ages.fold(f64::INFINITY, f64::min);
    let _ = write!(
        text,
        "# HELP askr_history_seconds Age of the oldest event held, of the application with the shortest history.\n\
         # TYPE askr_history_seconds gauge\naskr_history_seconds {seconds}\n"
    );
}

fn write_refusals(text: &mut String) {
    text.push_str(
        "# HELP askr_refusals_total Refused requests and subscriptions that point to a mistake in a setup, by reason.\n\
         # TYPE askr_refusals_total counter\n",
    );
    for reason in Reason::ALL {
        let (label, count) = (reason.label(), refusals::count(*reason));
        let _ = writeln!(text, "askr_refusals_total{{reason=\"{label}\"}} {count}");
    }
}

fn write_histograms(text: &mut String, process: &Process) {
    process.workers.merged(|worker| &worker.latency).write_to(
        text,
        "askr_publish_to_write_seconds",
        "From the publish of an event until a worker wrote it to its streams.",
    );
    process.workers.merged(|worker| &worker.turns).write_to(
        text,
        "askr_worker_turn_seconds",
        "What a worker takes for the events of one wake.",
    );
}

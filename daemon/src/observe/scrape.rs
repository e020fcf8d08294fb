//! `GET /metrics`: gathers what is counted elsewhere (by each worker, each application, the log), and writes it down.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use shared::segment::now_s;

use crate::app::application::App;
use crate::app::peers;
use crate::auth::{http_call, rotation};
use crate::cluster::seen;
use crate::cluster::seen::{Seen, View};
use crate::hub::hub::Hub;
use crate::observe::observed::Observed;
use crate::observe::{limits, per_application, process_metrics};
use crate::outbound::webhooks;
use crate::process::exposition::{Exposition, Kind, Syntax};
use crate::process::histogram::Histogram;
use crate::process::logging;
use crate::process::metrics::{Counter, Metrics};
use crate::process::refusals;
use crate::process::refusals::Reason;
use crate::process::state::Process;
use crate::process::worker_counters::WorkerCounters;

/// The metrics as they are now.
pub fn text(observed: &Observed, syntax: Syntax) -> String {
    let Observed {
        process,
        apps,
        nodes,
        ..
    } = observed;
    gather(observed);
    let mut out = Exposition::new(syntax);
    process_metrics::write(&mut out, observed);
    process.metrics.write_to(&mut out);
    write_history(&mut out, apps);
    write_lags(&mut out, nodes);
    write_refusals(&mut out, process);
    write_histograms(&mut out, apps);
    limits::write(&mut out, observed);
    per_application::write(&mut out, observed);
    out.finish()
}

/// Brings the table of metrics up to date.
pub fn gather(observed: &Observed) {
    let Observed {
        process,
        apps,
        nodes,
        ..
    } = observed;
    let metrics = &process.metrics;
    gather_process(process, apps);
    gather_rings(metrics, apps);
    gather_members(metrics, apps);
    gather_auth(metrics, apps);
    gather_webhooks(metrics, apps);
    gather_nodes(metrics, apps, nodes);
}

fn hubs(apps: &[Arc<App>]) -> impl Iterator<Item = &Hub> + Clone {
    apps.iter().map(|app| &*app.hub)
}

fn gather_process(process: &Process, apps: &[Arc<App>]) {
    let metrics = &process.metrics;
    let sum = |of: fn(&WorkerCounters) -> &Counter| -> u64 {
        hubs(apps).map(|hub| hub.workers.sum(of)).sum()
    };
    metrics.connections.set(process.limits.connections() as u64);
    let drains = process.drain.plan().is_some();
    metrics.draining.set(drains.into());
    metrics.outbox_bytes.set(process.memory.waiting.get());
    metrics.held_bytes.set(process.memory.used());
    metrics.delivered.set(sum(|worker| &worker.delivered));
    let bytes = sum(|worker| &worker.bytes);
    metrics.bytes.set(bytes);
    metrics.bytes_before.set(bytes);
    metrics.replayed.set(sum(|worker| &worker.replayed));
    metrics.scanned.set(sum(|worker| &worker.scanned));
    metrics.replay_turns.set(sum(|worker| &worker.replay_turns));
    metrics.replays_due.set(sum(|worker| &worker.replays_due));
    metrics.wakes.set(turns(apps).count());
    let (waiting, lost) = logging::counts();
    metrics.log_waiting.set(waiting as u64);
    metrics.log_lost.set(lost);
    metrics.refusals_unlogged.set(refusals::unlogged());
}

/// Of all applications.
fn merged(apps: &[Arc<App>], of: fn(&WorkerCounters) -> &Histogram) -> Histogram {
    let all = Histogram::default();
    for hub in hubs(apps) {
        all.add(&hub.workers.merged(of));
    }
    all
}

fn turns(apps: &[Arc<App>]) -> Histogram {
    merged(apps, |worker| &worker.turns)
}

/// From a publish to the end of the writes, of all applications.
pub fn latency(apps: &[Arc<App>]) -> Histogram {
    merged(apps, |worker| &worker.latency)
}

fn gather_rings(metrics: &Metrics, apps: &[Arc<App>]) {
    let hubs = hubs(apps);
    let sum = |of: fn(&Hub) -> u64| -> u64 { hubs.clone().map(of).sum() };
    metrics.behind.set(hubs.clone().map(Hub::lag).sum());
    metrics.events.set(sum(|hub| hub.tailed.events.get()));
    metrics
        .retired_bytes
        .set(sum(|hub| hub.tailed.retired.get()));
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
    let (members, refused) = counts.fold((0, 0), |sum, one| {
        (sum.0 + one.0, sum.1 + one.1.iter().sum::<u64>())
    });
    metrics.members.set(members as u64);
    metrics.members_refused.set(refused);
}

fn gather_auth(metrics: &Metrics, apps: &[Arc<App>]) {
    let all: Vec<_> = apps.iter().map(|app| app.authority.authorizers()).collect();
    let http = all.iter().filter_map(|all| all.http.as_ref());
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
    let tokens = all.iter().filter_map(|all| all.tokens.as_ref());
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

fn gather_nodes(metrics: &Metrics, apps: &[Arc<App>], nodes: &[Arc<Seen>]) {
    let sum = |of: fn(&seen::Counts) -> &Counter| -> u64 {
        nodes.iter().map(|seen| of(&seen.counts).get()).sum()
    };
    metrics.cluster_relayed.set(sum(|counts| &counts.relayed));
    metrics.cluster_resent.set(sum(|counts| &counts.resent));
    metrics
        .cluster_unrelayed
        .set(sum(|counts| &counts.relayed_lost));
    metrics.cluster_imported.set(sum(|counts| &counts.imported));
    metrics
        .cluster_duplicates
        .set(sum(|counts| &counts.duplicates));
    metrics.cluster_held.set(sum(|counts| &counts.held));
    metrics.cluster_not_held.set(sum(|counts| &counts.not_held));
    metrics.cluster_gaps.set(sum(|counts| &counts.gaps));
    metrics.cluster_refused.set(sum(|counts| &counts.refused));
    metrics
        .cluster_malformed
        .set(sum(|counts| &counts.malformed));
    metrics
        .cluster_connections
        .set(sum(|counts| &counts.connections));
    metrics.cluster_stalls.set(sum(|counts| &counts.stalls));
    metrics.cluster_unnoted.set(sum(|counts| &counts.unnoted));
    let views: Vec<View> = nodes.iter().map(|seen| seen.view()).collect();
    let sum = |of: fn(&View) -> u64| -> u64 { views.iter().map(of).sum() };
    metrics
        .cluster_connected
        .set(sum(|view| view.server.is_some().into()));
    metrics.cluster_nodes.set(sum(|view| {
        view.nodes.iter().filter(|node| node.alive).count() as u64
    }));
    metrics.cluster_log.set(sum(|view| view.log));
    metrics.cluster_held_bytes.set(sum(|view| view.held_bytes));
    metrics.cluster_out.set(sum(|view| view.out_events));
    metrics.cluster_in.set(sum(|view| view.in_events));
    let facts = apps.iter().filter_map(|app| app.hub.facts.as_ref());
    let (mut known, mut left_out, mut read) = (0, 0, 0);
    for facts in facts {
        let counts = facts.counts();
        known += counts.0 as u64;
        left_out += counts.1;
        read += counts.2;
    }
    metrics.cluster_facts.set(known);
    metrics.cluster_facts_left_out.set(left_out);
    metrics.cluster_facts_read.set(read);
    let buses = apps.iter().filter_map(|app| app.peers.bus());
    let sum = |of: fn(&peers::Counts) -> &Counter| -> u64 {
        buses.clone().map(|bus| of(&bus.counts).get()).sum()
    };
    metrics.cluster_sent.set(sum(|counts| &counts.sent));
    metrics.cluster_heard.set(sum(|counts| &counts.heard));
    metrics.cluster_lost.set(sum(|counts| &counts.lost));
    metrics
        .cluster_unanswered
        .set(sum(|counts| &counts.unanswered));
    metrics
        .cluster_not_understood
        .set(sum(|counts| &counts.not_understood));
}

/// Gauges whose values are not whole numbers.
fn write_lags(out: &mut Exposition, nodes: &[Arc<Seen>]) {
    let name = "askr_cluster_lag_seconds";
    let help = "For how long events have been waiting to be relayed to other hosts, or to be imported from them.";
    out.family(name, Kind::Gauge, help);
    let views: Vec<View> = nodes.iter().map(|seen| seen.view()).collect();
    let most = |of: fn(&View) -> f64| views.iter().map(of).fold(0.0, f64::max);
    let (ahead, back) = (most(|view| view.out_seconds), most(|view| view.in_seconds));
    for (direction, seconds) in [("out", ahead), ("in", back)] {
        out.sample(name, &[("direction", direction)], format!("{seconds:.3}"));
    }
}

/// A gauge whose value is not a whole number.
fn write_history(out: &mut Exposition, apps: &[Arc<App>]) {
    let ages = hubs(apps).map(|hub| hub.segments.history_seconds());
    let name = "askr_history_seconds";
    let help = "Age of the oldest event held, of the application with the shortest history.";
    out.family(name, Kind::Gauge, help);
    out.sample(name, &[], ages.reduce(f64::min).unwrap_or(0.0));
}

fn write_refusals(out: &mut Exposition, process: &Process) {
    let name = "askr_refusals_total";
    let help = "Refused requests and subscriptions that point to a mistake in a setup, by reason.";
    out.family(name, Kind::Counter, help);
    for reason in Reason::ALL {
        let labels = [("reason", reason.label())];
        out.sample(name, &labels, refusals::count(*reason));
    }
    let name = "askr_requests_refused_total";
    let help = "Refused requests, by the status of the response; 101: WebSockets that were told why in a message.";
    out.family(name, Kind::Counter, help);
    for (status, count) in process.statuses.each() {
        out.sample(name, &[("status", status)], count);
    }
}

fn write_histograms(out: &mut Exposition, apps: &[Arc<App>]) {
    let name = "askr_publish_to_write_seconds";
    let help = "From the publish of an event until a worker wrote it to its streams.";
    out.family(name, Kind::Histogram, help);
    latency(apps).write_to(out, name, &[]);
    let name = "askr_worker_turn_seconds";
    let help = "What a worker takes for the events of one wake.";
    out.family(name, Kind::Histogram, help);
    turns(apps).write_to(out, name, &[]);
}

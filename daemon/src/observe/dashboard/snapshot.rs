//! What the page shows, as it is now.

use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};
use shared::segment::now_ns;

use crate::app::application::App;
use crate::config;
use crate::config::Settings;
use crate::hub::presence;
use crate::observe::dashboard::samples::Sample;
use crate::observe::limits::Limit;
use crate::observe::observed::Observed;
use crate::observe::{limits, per_application, process_metrics, scrape};
use crate::process::histogram::Counts;
use crate::process::refusals;
use crate::process::refusals::Reason;

/// Which setting allows what `askr_refused_total` counts.
const SETTINGS: [(&str, &str); 14] = [
    ("connections", "server.max_connections"),
    ("address", "server.connections_per_address"),
    ("channels", "app.max_channels"),
    ("channels_per_address", "server.channels_per_address"),
    ("subscribers_per_address", "server.subscribers_per_channel"),
    ("descriptors", "LimitNOFILE"),
    ("app_connections", "app.max_connections"),
    ("app_address", "app.max_connections"),
    ("members", "app.channel_members, app.members"),
    ("subscribers_per_channel", "server.subscribers_per_channel"),
    ("requests", "server.requests_total"),
    (
        "patterns",
        "app.mercure_patterns, app.mercure_patterns_per_address",
    ),
    ("grants", "app.mercure_grants"),
    ("drain", "askrd drain --stop"),
];

/// What a second's sample is the difference of.
#[derive(Debug)]
pub struct Totals {
    at: Instant,
    events: u64,
    frames: u64,
    bytes: u64,
    gaps: u64,
    refused: u64,
    cpu: f64,
    latency: Counts,
}

impl Totals {
    /// The sample of what happened since `before`, and what the next one is compared with.
    pub fn sample(observed: &Observed, before: Option<&Self>) -> (Sample, Self) {
        scrape::gather(observed);
        let metrics = &observed.process.metrics;
        let now = Self {
            at: Instant::now(),
            events: metrics.events.get(),
            frames: metrics.delivered.get(),
            bytes: metrics.bytes.get(),
            gaps: metrics.gaps.get(),
            refused: metrics.refused_requests.get()
                + over(observed).iter().map(|o| o.1).sum::<u64>(),
            cpu: process_metrics::cpu_seconds().unwrap_or(0.0),
            latency: scrape::latency(&observed.apps).counts(),
        };
        let before = before.unwrap_or(&now);
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let rate = |of: fn(&Self) -> u64| (of(&now) - of(before)) as f64 / seconds;
        let sample = [
            metrics.streams.get() as f64,
            rate(|t| t.events),
            rate(|t| t.frames),
            rate(|t| t.bytes),
            now.latency.since(&before.latency).quantile_us(0.99),
            metrics.behind.get() as f64,
            rate(|t| t.gaps),
            rate(|t| t.refused),
            (now.cpu - before.cpu) / seconds,
            process_metrics::memory().map_or(0.0, |(_, resident)| resident),
        ];
        (sample, now)
    }
}

/// Refused at each limit.
fn over(observed: &Observed) -> Vec<(&'static str, u64)> {
    let metrics = &observed.process.metrics;
    metrics.labelled("askr_refused_total")
}

/// A channel and how many of something it has.
#[derive(Debug, Clone, Serialize)]
pub struct Ranked {
    pub channel: String,
    pub count: u64,
}

/// What is looked for only now and then, of one application.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Looked {
    /// By events in the last minute.
    pub busiest: Vec<Ranked>,
    pub busiest_exact: bool,
    /// By subscribers.
    pub largest: Vec<Ranked>,
    /// Streams for which most is waiting.
    pub slow: Vec<Value>,
}

/// Bytes of its text at the most: what there is once, mostly notes of refusals, and what each application has: its channels
/// and slow clients, with names as long as they may be and each character escaped, and its hosts.
pub const fn ceiling(apps: u64) -> u64 {
    (128 << 10) + apps * (96 << 10)
}

/// Everything, for one moment. `looked`: one for each application.
pub fn now(observed: &Observed, sample: &Sample, looked: &[Looked]) -> Value {
    let settings: std::sync::Arc<Settings> = observed.in_force.get();
    let named = settings.applications();
    let applications: Vec<Value> = observed
        .apps
        .iter()
        .zip(&named)
        .zip(looked)
        .map(|((app, (named, ..)), looked)| application(app, named, looked))
        .collect();
    let process = &observed.process;
    let m = &process.metrics;
    let unclaimed: Value = process
        .unclaimed
        .each()
        .filter(|(_, count)| *count > 0)
        .map(|(failure, count)| (failure.key().to_owned(), Value::from(count)))
        .collect();
    let over: Vec<Value> = over(observed)
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(limit, count)| {
            let setting = SETTINGS.iter().find(|(name, _)| name == limit);
            json!({"limit": limit, "count": count, "setting": setting.map(|(_, s)| *s)})
        })
        .collect();
    let statuses: Vec<Value> = process
        .statuses
        .each()
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| json!({"status": status, "count": count}))
        .collect();
    let reasons: Vec<Value> = Reason::ALL
        .iter()
        .map(|reason| (reason.label(), refusals::count(*reason)))
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| json!({"reason": reason, "count": count}))
        .collect();
    let now = now_ns();
    let notes: Vec<Value> = refusals::recent()
        .into_iter()
        .map(|note| json!({"ago": note.at.elapsed().as_secs(), "text": note.text}))
        .collect();
    let nodes: Vec<_> = observed.nodes.iter().map(|seen| seen.view()).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "at": now / 1_000_000,
        "uptime": now.saturating_sub(process.started_ns) / 1_000_000_000,
        "ready": process.unready().map_or(Value::Null, Value::from),
        "draining": process.drain.plan().map(|plan| plan.left().as_secs()),
        "sample": sample,
        "totals": {
            "connections": m.connections.get(),
            "accepted": m.accepted.get(),
            "streams": m.streams.get(),
            "subscriptions": m.subscriptions.get(),
            "channels": m.channels.get(),
            "members": m.members.get(),
            "events": m.events.get(),
            "frames": m.delivered.get(),
            "bytes": m.bytes.get(),
            "replayed": m.replayed.get(),
            "gaps": m.gaps.get(),
            "lost": m.lapped.get() + m.unreadable.get() + m.unsupported.get()
                + m.quarantined.get() + m.forged.get(),
            "unknown_cursors": m.unknown_cursors.get(),
            "rewinds": m.rewinds.get(),
            "slow_replayed": m.slow_replayed.get(),
            "slow_skipped": m.slow_skipped.get(),
            "skipped": m.skipped.get(),
            "closed_slow": m.closed_slow.get() + m.closed_memory.get() + m.closed_stalled.get(),
            "waiting_bytes": m.outbox_bytes.get(),
            "overruns": m.overruns.get(),
        },
        "latency": latency(observed),
        "limits": limits::counts(observed).iter().map(limit).collect::<Vec<_>>(),
        "budgets": limits::budgets(observed).iter().map(limit).collect::<Vec<_>>(),
        "applications": applications,
        "unclaimed": unclaimed,
        "refusals": {"over": over, "statuses": statuses, "reasons": reasons, "notes": notes},
        "nodes": nodes,
    })
}

/// Of all events since the start, in microseconds.
fn latency(observed: &Observed) -> Value {
    let counts = scrape::latency(&observed.apps).counts();
    json!({"p50_us": counts.quantile_us(0.5), "p99_us": counts.quantile_us(0.99)})
}

fn limit(limit: &Limit) -> Value {
    json!({"name": limit.name, "setting": limit.setting, "used": limit.used, "most": limit.most})
}

fn application(app: &App, settings: &config::App, looked: &Looked) -> Value {
    let hub = &app.hub;
    let streams: Value = per_application::TRANSPORTS
        .iter()
        .map(|(transport, formats)| {
            let count = per_application::streams(hub, formats);
            ((*transport).to_owned(), Value::from(count))
        })
        .collect();
    let failures: Value = app
        .publishing
        .failures
        .each()
        .filter(|(_, count)| *count > 0)
        .map(|(failure, count)| (failure.key().to_owned(), Value::from(count)))
        .collect();
    let (members, refused) = app.roster.counts();
    let refused: Value = presence::Refused::LIMITS
        .into_iter()
        .zip(refused)
        .filter(|(_, count)| *count > 0)
        .map(|(limit, count)| (limit.to_owned(), Value::from(count)))
        .collect();
    json!({
        "id": app.id,
        "ring": app.ring.to_string(),
        "streams": streams,
        "subscriptions": hub.open.subscriptions.get(),
        "channels": hub.routes.channels(),
        "members": members,
        "members_refused": refused,
        "events": hub.tailed.events.get(),
        "frames": hub.workers.sum(|worker| &worker.delivered),
        "bytes": hub.workers.sum(|worker| &worker.bytes),
        "replayed": hub.workers.sum(|worker| &worker.replayed),
        "lag": hub.lag(),
        "history": hub.segments.history_seconds(),
        "positions": hub.index.entries(),
        "failures": failures,
        "limits": limits::of_app(app, settings).iter().map(limit).collect::<Vec<_>>(),
        "looked": looked,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::process::metrics::Metrics;

    #[test]
    fn each_limit_says_its_setting() {
        let limits = Metrics::default().labelled("askr_refused_total");
        let limits: BTreeSet<_> = limits.into_iter().map(|(limit, _)| limit).collect();
        assert_eq!(
            limits,
            SETTINGS.into_iter().map(|(limit, _)| limit).collect()
        );
    }
}

//! Metrics with a label for the application. What all applications have together has names without it, so that nothing is
//! counted twice in a sum.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use protocol::format::Format;

use crate::app::application::App;
use crate::cluster::seen::View;
use crate::config;
use crate::hub::hub::Hub;
use crate::hub::presence;
use crate::observe::limits;
use crate::observe::limits::Limit;
use crate::observe::observed::Observed;
use crate::process::exposition::{Exposition, Kind};
use crate::process::publish_failures::PublishFailures;

/// How streams are connected.
pub const TRANSPORTS: [(&str, &[Format]); 3] = [
    ("sse", &[Format::Raw, Format::Json, Format::Mercure]),
    ("websocket", &[Format::Plain]),
    ("pusher", &[Format::Pusher, Format::Recovery]),
];

/// Streams of a transport.
pub fn streams(hub: &Hub, formats: &[Format]) -> u64 {
    let each = formats.iter();
    each.map(|format| hub.open.streams[*format as usize].get())
        .sum()
}

pub fn write(out: &mut Exposition, observed: &Observed) {
    let apps = &observed.apps;
    write_open(out, apps);
    write_events(out, apps);
    write_failures(out, observed);
    write_presence(out, apps);
    write_outbound(out, apps);
    write_nodes(out, observed);
    let settings = observed.in_force.get();
    let named: Vec<config::App> = settings
        .applications()
        .into_iter()
        .map(|(a, ..)| a)
        .collect();
    let all: Vec<(&Arc<App>, Vec<Limit>)> = apps
        .iter()
        .zip(&named)
        .map(|(app, settings)| (app, limits::of_app(app, settings)))
        .collect();
    let values: [fn(&Limit) -> u64; 2] = [|limit| limit.used, |limit| limit.most];
    let families = [
        (
            "askr_application_limit_used",
            "How much is used of an application's limits.",
        ),
        ("askr_application_limit", "An application's limits."),
    ];
    for ((name, help), value) in families.into_iter().zip(values) {
        out.family(name, Kind::Gauge, help);
        for (app, limits) in &all {
            for limit in limits {
                let labels = [("application", app.id.as_str()), ("limit", limit.name)];
                out.sample(name, &labels, value(limit));
            }
        }
    }
}

/// A row for each application.
fn each(
    out: &mut Exposition,
    apps: &[Arc<App>],
    name: &str,
    kind: Kind,
    help: &str,
    value: fn(&App) -> f64,
) {
    out.family(name, kind, help);
    for app in apps {
        out.sample(name, &[("application", &app.id)], value(app));
    }
}

fn write_open(out: &mut Exposition, apps: &[Arc<App>]) {
    let name = "askr_application_streams";
    out.family(
        name,
        Kind::Gauge,
        "Streams open, by how they are connected.",
    );
    for app in apps {
        for (transport, formats) in TRANSPORTS {
            let labels = [("application", app.id.as_str()), ("transport", transport)];
            out.sample(name, &labels, streams(&app.hub, formats));
        }
    }
    let gauge = Kind::Gauge;
    each(
        out,
        apps,
        "askr_application_subscriptions",
        gauge,
        "Subscriptions, a stream counting once for each of its channels.",
        |app| app.hub.open.subscriptions.get() as f64,
    );
    each(
        out,
        apps,
        "askr_application_channels",
        gauge,
        "Channels with a subscriber.",
        |app| app.hub.routes.channels() as f64,
    );
}

fn write_events(out: &mut Exposition, apps: &[Arc<App>]) {
    let counter = Kind::Counter;
    each(
        out,
        apps,
        "askr_application_events_read_total",
        counter,
        "Events read from the ring.",
        |app| app.hub.tailed.events.get() as f64,
    );
    each(
        out,
        apps,
        "askr_application_events_delivered_total",
        counter,
        "Frames sent or queued to streams, pings not among them.",
        |app| app.hub.workers.sum(|worker| &worker.delivered) as f64,
    );
    each(
        out,
        apps,
        "askr_application_events_replayed_total",
        counter,
        "Events read from the ring again for a stream that replays.",
        |app| app.hub.workers.sum(|worker| &worker.replayed) as f64,
    );
    each(
        out,
        apps,
        "askr_application_written_bytes_total",
        counter,
        "Bytes written to streams.",
        |app| app.hub.workers.sum(|worker| &worker.bytes) as f64,
    );
    each(
        out,
        apps,
        "askr_application_ring_lag_positions",
        Kind::Gauge,
        "Positions claimed by publishers and not delivered to workers yet.",
        |app| app.hub.lag() as f64,
    );
    each(
        out,
        apps,
        "askr_application_history_seconds",
        Kind::Gauge,
        "Age of the oldest event held.",
        |app| app.hub.segments.history_seconds(),
    );
    let name = "askr_application_publish_to_write_seconds";
    let help = "From the publish of an event until a worker wrote it to its streams.";
    out.family(name, Kind::Histogram, help);
    for app in apps {
        let latency = app.hub.workers.merged(|worker| &worker.latency);
        latency.write_to(out, name, &[("application", &app.id)]);
    }
}

/// The application of a ring that none here has is empty.
fn write_failures(out: &mut Exposition, observed: &Observed) {
    let name = "askr_publish_failures_total";
    let help = "Events that could not be published, as PHP's processes say, by reason. Without an application: to a ring that \
                this askrd does not serve.";
    out.family(name, Kind::Counter, help);
    let own = observed.apps.iter();
    let own = own.map(|app| (app.id.as_str(), &app.publishing.failures));
    let unclaimed: (&str, &PublishFailures) = ("", &observed.process.unclaimed);
    for (application, failures) in own.chain([unclaimed]) {
        for (failure, count) in failures.each() {
            let labels = [("application", application), ("reason", failure.key())];
            out.sample(name, &labels, count);
        }
    }
}

fn write_presence(out: &mut Exposition, apps: &[Arc<App>]) {
    each(
        out,
        apps,
        "askr_application_presence_members",
        Kind::Gauge,
        "Members of presence channels, those in their grace time included.",
        |app| app.roster.counts().0 as f64,
    );
    let name = "askr_application_presence_refused_total";
    out.family(
        name,
        Kind::Counter,
        "Joins refused, by the limit that was reached.",
    );
    for app in apps {
        let refused = app.roster.counts().1;
        for (limit, count) in presence::Refused::LIMITS.into_iter().zip(refused) {
            let labels = [("application", app.id.as_str()), ("limit", limit)];
            out.sample(name, &labels, count);
        }
    }
}

/// Calls to the application and webhooks, of those that have them.
fn write_outbound(out: &mut Exposition, apps: &[Arc<App>]) {
    let mut rows = |name: &str, help: &str, of: fn(&App) -> Vec<(&'static str, u64)>| {
        out.family(name, Kind::Counter, help);
        for app in apps {
            for (result, count) in of(app) {
                let labels = [("application", app.id.as_str()), ("result", result)];
                out.sample(name, &labels, count);
            }
        }
    };
    rows(
        "askr_application_auth_calls_total",
        "Calls to the application's auth_url, as askr_auth_calls_total has them.",
        |app| {
            let authorizers = app.authority.authorizers();
            let Some(http) = &authorizers.http else {
                return Vec::new();
            };
            let counts = &http.counts;
            vec![
                ("asked", of(&counts.asked)),
                ("refused", of(&counts.refused)),
                ("away", of(&counts.away)),
                ("full", of(&counts.full)),
                ("address", of(&counts.share)),
                ("anonymous", of(&counts.anonymous)),
                ("cached", of(&counts.cached)),
            ]
        },
    );
    rows(
        "askr_application_webhooks_total",
        "The application's webhook events, as askr_webhooks_total has them.",
        |app| {
            let Some(hooks) = &app.hub.webhooks else {
                return Vec::new();
            };
            let counts = &hooks.counts;
            vec![
                ("delivered", of(&counts.delivered)),
                ("dropped", of(&counts.dropped)),
                ("dropped_address", of(&counts.share)),
                ("given_up", of(&counts.given_up)),
                ("failed_request", of(&counts.failed)),
            ]
        },
    );
}

fn of(count: &AtomicU64) -> u64 {
    count.load(Relaxed)
}

fn write_nodes(out: &mut Exposition, observed: &Observed) {
    let views: Vec<View> = observed.nodes.iter().map(|seen| seen.view()).collect();
    let mut rows = |name: &str, help: &str, of: fn(&View) -> Vec<(&'static str, f64)>| {
        out.family(name, Kind::Gauge, help);
        for view in &views {
            for (direction, value) in of(view) {
                let labels = [
                    ("application", view.application.as_str()),
                    ("direction", direction),
                ];
                out.sample(name, &labels, value);
            }
        }
    };
    rows(
        "askr_application_cluster_lag_seconds",
        "For how long events have been waiting to be relayed to other hosts, or to be imported from them.",
        |view| vec![("out", view.out_seconds), ("in", view.in_seconds)],
    );
    rows(
        "askr_application_cluster_lag_events",
        "Positions that are not relayed yet, and those of other hosts that are not here yet.",
        |view| {
            vec![
                ("out", view.out_events as f64),
                ("in", view.in_events as f64),
            ]
        },
    );
    let name = "askr_application_cluster_nodes";
    out.family(name, Kind::Gauge, "Hosts that live, this one among them.");
    for view in &views {
        let alive = view.nodes.iter().filter(|node| node.alive).count();
        out.sample(name, &[("application", &view.application)], alive);
    }
}

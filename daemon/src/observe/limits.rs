//! What is bounded, beside how much of it is used: each pair has the same labels, so that one can be divided by the other.

use crate::app::application::App;
use crate::config;
use crate::observe::observed::Observed;
use crate::process::exposition::{Exposition, Kind};

/// Of what all applications share.
pub struct Limit {
    pub name: &'static str,
    /// The setting that it is.
    pub setting: &'static str,
    pub used: u64,
    pub most: u64,
}

/// Counts that are bounded.
pub fn counts(observed: &Observed) -> Vec<Limit> {
    let limits = &observed.process.limits;
    vec![Limit {
        name: "connections",
        setting: "server.max_connections",
        used: limits.connections() as u64,
        most: limits.most() as u64,
    }]
}

/// Bytes that are bounded.
pub fn budgets(observed: &Observed) -> Vec<Limit> {
    let Observed {
        process,
        nodes,
        in_force,
        ..
    } = observed;
    let mut all = vec![
        Limit {
            name: "events",
            setting: "server.outbox_total",
            used: process.memory.used(),
            most: process.memory.limit(),
        },
        Limit {
            name: "requests",
            setting: "server.requests_total",
            used: process.metrics.requests_bytes.get(),
            most: process.requests.bound() as u64,
        },
    ];
    if !nodes.is_empty() {
        all.push(Limit {
            name: "held_back",
            setting: "cluster.held_back",
            used: nodes.iter().map(|seen| seen.view().held_bytes).sum(),
            most: in_force.get().cluster.held_back.0 * nodes.len() as u64,
        });
    }
    all
}

/// What an application has of its own; only what is bounded.
pub fn of_app(app: &App, settings: &config::App) -> Vec<Limit> {
    let (connections, most_connections) = app.quota.used_of();
    let mut all = vec![
        Limit {
            name: "channels",
            setting: "app.max_channels",
            used: app.hub.routes.channels() as u64,
            most: settings.max_channels as u64,
        },
        Limit {
            name: "members",
            setting: "app.members",
            used: app.roster.counts().0 as u64,
            most: settings.members as u64,
        },
    ];
    if most_connections > 0 {
        all.push(Limit {
            name: "connections",
            setting: "app.max_connections",
            used: connections as u64,
            most: most_connections as u64,
        });
    }
    all
}

pub fn write(out: &mut Exposition, observed: &Observed) {
    let mut pair = |names: [&str; 2], helps: [&str; 2], label: &str, all: &[Limit]| {
        let values: [fn(&Limit) -> u64; 2] = [|limit| limit.used, |limit| limit.most];
        for ((name, help), value) in names.into_iter().zip(helps).zip(values) {
            out.family(name, Kind::Gauge, help);
            for limit in all {
                out.sample(name, &[(label, limit.name)], value(limit));
            }
        }
    };
    pair(
        ["askr_limit_used", "askr_limit"],
        [
            "How much is used of what is limited for all applications together.",
            "The limits of it.",
        ],
        "limit",
        &counts(observed),
    );
    pair(
        ["askr_budget_used_bytes", "askr_budget_bytes"],
        [
            "How much memory is held of each budget.",
            "The budgets of memory.",
        ],
        "budget",
        &budgets(observed),
    );
}

//! askrd: tails the Askr rings and serves Server-Sent Events and WebSockets.
//!
//! ```text
//! tailer ─► history, routes ─► worker inboxes ─► engine (streams, subscriptions) ─► sockets
//! acceptor ─► worker: HTTP ─► engine
//! ```
#![deny(unsafe_code)]

mod acceptor;
mod app;
mod applications;
mod archive;
mod ask;
mod asker;
mod auth;
mod bus;
mod census;
mod channel;
mod cli;
mod command;
mod commands;
mod control;
mod engine;
mod gap;
mod gather;
mod handoff;
mod health;
mod histogram;
mod history;
mod http;
mod jitter;
mod last_events;
mod limits;
mod listen;
mod live;
mod log;
mod members;
mod metrics;
mod notice;
mod outbox;
mod outgoing;
mod plain;
mod presence;
mod pull;
mod pusher;
mod routes;
#[cfg(test)]
mod seam;
mod serve;
mod settings;
mod socket_id;
mod sse;
mod stream;
mod subscriptions;
mod tailer;
#[cfg(test)]
mod testing;
mod transmit;
mod uring;
mod watch;
mod watchlists;
mod webhooks;
mod who;
mod wire;
mod worker;
mod ws;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, Common};
use settings::Settings;

/// Exit code for settings that cannot be used; systemd is told not to try again.
const BAD_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().into_command() {
        Command::Serve(flags) => with_settings(&flags, |settings| {
            log::start();
            serve::serve(settings).inspect_err(|why| tracing::error!("{why}"))
        }),
        Command::Stats(flags) => with_settings(&flags, |settings| told(commands::stats(settings))),
        Command::Check(flags) => with_settings(&flags, |settings| Ok(commands::check(settings))),
        Command::Tail(arguments) => {
            let flags = arguments.common.clone().into();
            with_settings(&flags, |settings| {
                told(commands::tail(settings, &arguments))
            })
        }
        Command::Publish(arguments) => {
            let flags = arguments.common.clone().into();
            with_settings(&flags, |settings| {
                told(commands::publish(settings, &arguments))
            })
        }
        Command::Channels(arguments) => {
            let flags = arguments.common.clone().into();
            with_settings(&flags, |settings| {
                told(commands::channels(settings, &arguments))
            })
        }
        Command::Members(arguments) => {
            let flags = arguments.common.clone().into();
            with_settings(&flags, |settings| {
                told(commands::members(settings, &arguments))
            })
        }
        Command::Disconnect(arguments) => {
            let flags = arguments.common.clone().into();
            with_settings(&flags, |settings| {
                told(commands::disconnect(settings, &arguments))
            })
        }
    }
}

fn with_settings(
    flags: &Common,
    work: impl FnOnce(&Settings) -> Result<ExitCode, String>,
) -> ExitCode {
    match settings::load(flags, |name| std::env::var(name).ok()) {
        Ok(settings) => work(&settings).unwrap_or(ExitCode::FAILURE),
        Err(problem) => {
            eprintln!("askrd: {problem}");
            ExitCode::from(BAD_SETTINGS)
        }
    }
}

/// What a command could not do is said as a program says it.
fn told(result: Result<ExitCode, String>) -> Result<ExitCode, String> {
    result.inspect_err(|why| eprintln!("askrd: {why}"))
}

//! The program: reads the command line and the settings, then serves or does what a command says.

// They panic when nobody reads: `say` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use askrd::cli::arguments::{Cli, Command};
use askrd::cli::commands;
use askrd::config::{self, Flags, Problem, Settings, Sources};
use askrd::process::signals::{self, Held};
use askrd::process::{logging, parts, quarantine};
use askrd::server::preflight::{self, Prepared};
use askrd::server::serve::serve as run;
use clap::Parser;

/// Exit code for what no restart mends, such as settings that cannot be used; the units keep systemd from trying again.
const NOT_MENDED_BY_A_RESTART: u8 = 2;

fn main() -> ExitCode {
    // Before anything else: a signal must not end what is about to serve.
    let signals = signals::hold();
    let verb = Cli::parse().into_command();
    if !matches!(verb, Command::Serve(_)) {
        signals.release();
    }
    match verb {
        Command::Serve(flags) => prepared(&flags, |settings, prepared| {
            Ok(serve(settings, prepared, signals))
        }),
        Command::Check(flags) => prepared(&flags, |settings, _| Ok(commands::check(settings))),
        Command::Stats(flags) => command(&flags, commands::stats),
        Command::Tail(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::tail(settings, &arguments)
        }),
        Command::History(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::history(settings, &arguments)
        }),
        Command::Forget(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::forget(settings, &arguments)
        }),
        Command::Publish(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::publish(settings, &arguments)
        }),
        Command::Channels(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::channels(settings, &arguments)
        }),
        Command::Members(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::members(settings, &arguments)
        }),
        Command::Disconnect(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::disconnect(settings, &arguments)
        }),
    }
}

fn serve(settings: &Settings, prepared: Vec<Prepared>, signals: Held) -> ExitCode {
    parts::end_at_a_panic();
    if let Err(why) = logging::start() {
        say(&why);
        return ExitCode::FAILURE;
    }
    let served = signals
        .listen()
        .map_err(|why| format!("cannot listen to signals: {why}").into())
        .and_then(|stops| run(settings, prepared, stops))
        .unwrap_or_else(|cannot| {
            tracing::error!("{}", cannot.why);
            match cannot.lasting {
                true => ExitCode::from(NOT_MENDED_BY_A_RESTART),
                false => ExitCode::FAILURE,
            }
        });
    // Threads that are still at work do not die of it.
    quarantine::blame();
    logging::finish();
    served
}

/// For what serves, or says whether it could.
fn prepared(
    flags: &Flags,
    work: impl FnOnce(&Settings, Vec<Prepared>) -> Result<ExitCode, String>,
) -> ExitCode {
    with_settings(flags, |settings, sources| {
        match preflight::prepare(settings) {
            Ok(prepared) => work(settings, prepared).unwrap_or(ExitCode::FAILURE),
            Err((section, key, why)) => unusable(&sources.problem(&section, key, &why)),
        }
    })
}

fn command(flags: &Flags, work: impl FnOnce(&Settings) -> Result<ExitCode, String>) -> ExitCode {
    with_settings(flags, |settings, _| {
        work(settings).unwrap_or_else(|why| {
            say(&why);
            ExitCode::FAILURE
        })
    })
}

fn with_settings(flags: &Flags, work: impl FnOnce(&Settings, &Sources) -> ExitCode) -> ExitCode {
    match config::load(flags, |name| std::env::var(name).ok()) {
        Ok((settings, sources)) => work(&settings, &sources),
        Err(problem) => unusable(&problem),
    }
}

fn unusable(problem: &Problem) -> ExitCode {
    say(problem);
    ExitCode::from(NOT_MENDED_BY_A_RESTART)
}

/// What could not be done, as a program says it, to whoever still listens.
fn say(why: &dyn Display) {
    let _ = writeln!(io::stderr(), "askrd: {why}");
}

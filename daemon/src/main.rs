//! The program: reads the command line and the settings, then serves or does what a command says.

// They panic when nobody reads: `say` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::fmt::Display;
use std::process::ExitCode;

use askrd::cli::arguments::{Cli, Command};
use askrd::cli::commands;
use askrd::config::{self, Flags, LogFormat, Problem, Settings, Sources};
use askrd::process::signals::{self, Held};
use askrd::process::{logging, parts, quarantine, terminal};
use askrd::server::preflight::{self, Preparation};
use askrd::server::serve::serve as run;
use clap::Parser;

/// Exit code for what no restart mends, such as settings that cannot be used; the units keep systemd from trying again.
const NOT_MENDED_BY_A_RESTART: u8 = 2;

fn main() -> ExitCode {
    // Before anything else: a signal must not end what is about to serve.
    let signals = signals::hold();
    let verb = match Cli::try_parse() {
        Ok(line) => line.into_command(),
        // What was asked for: help, the version.
        Err(said) if !said.use_stderr() => said.exit(),
        // It quotes the arguments, which may come from a list of channels.
        Err(why) => {
            terminal::complain(why.render().to_string().trim_end());
            return ExitCode::from(NOT_MENDED_BY_A_RESTART);
        }
    };
    if !matches!(verb, Command::Serve(_)) {
        signals.release();
    }
    match verb {
        Command::Serve(flags) => with_prepared(&flags, |settings, _, prepared| {
            serve(&flags, settings, prepared, signals)
        }),
        Command::Check(flags) => with_prepared(&flags, |settings, sources, _| {
            commands::check(settings, sources)
        }),
        Command::Reload(flags) => command(&flags, commands::reload),
        Command::Drain(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::drain(settings, &arguments)
        }),
        Command::Doctor(arguments) => commands::doctor(&arguments),
        Command::Health(flags) => command(&flags, commands::health),
        Command::Stats(arguments) => command(&arguments.common.clone(), |settings| match arguments
            .watch
        {
            true => commands::watch(settings, &arguments),
            false => commands::stats(settings),
        }),
        Command::Nodes(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::nodes(settings, &arguments)
        }),
        Command::Tail(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::tail(settings, &arguments)
        }),
        Command::History(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::history(settings, &arguments)
        }),
        Command::Forget(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::forget(settings, &arguments)
        }),
        Command::Trace(arguments) => command(&arguments.common.clone().into(), |settings| {
            commands::trace(settings, &arguments)
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

fn serve(flags: &Flags, settings: &Settings, prepared: Preparation, signals: Held) -> ExitCode {
    parts::end_at_a_panic();
    if let Err(why) = logging::start(&settings.log.level, settings.log.format == LogFormat::Json) {
        say(&why);
        return ExitCode::FAILURE;
    }
    tracing::info!("askrd {} ({}) starts", env!("CARGO_PKG_VERSION"), build());
    let served = signals
        .listen()
        .map_err(|why| format!("cannot listen to signals: {why}").into())
        .and_then(|received| run(flags, settings, prepared, received))
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

/// What this was built from: the commit, where the build was told it, and for which machine.
fn build() -> String {
    let commit = option_env!("ASKR_BUILD").filter(|commit| !commit.is_empty());
    let commit = commit.map_or(String::new(), |commit| format!("{commit}, "));
    let kind = if cfg!(debug_assertions) {
        "debug, "
    } else {
        ""
    };
    format!(
        "{commit}{kind}{} {}",
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

/// For what serves, or says whether it could.
fn with_prepared(
    flags: &Flags,
    work: impl FnOnce(&Settings, &Sources, Preparation) -> ExitCode,
) -> ExitCode {
    with_settings(flags, |settings, sources| {
        match preflight::prepare(settings) {
            Ok(prepared) => work(settings, sources, prepared),
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
    // No log has begun yet where it is the settings that are wrong.
    let priority = logging::error_priority();
    let text = format!("askrd: {why}");
    let lines = text.lines().map(|line| format!("{priority}{line}"));
    terminal::complain(&lines.collect::<Vec<_>>().join("\n"));
}

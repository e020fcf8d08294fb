//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;

/// Tails the Askr ring and serves Server-Sent Events.
///
/// Flags win over the environment (ASKR_SECTION_KEY), the environment over the file.
#[derive(Debug, Parser)]
#[command(name = "askrd", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Flags,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve events (also without a verb).
    Serve(Flags),
    /// Read the settings, say what is wrong with them (exit code 2) or what they amount to.
    Check(Flags),
    /// Print what the running daemon counts.
    Stats(Flags),
    /// Print the events of a live ring as they come, one JSON object a line.
    Tail(TailArgs),
    /// Publish one event.
    Publish(PublishArgs),
    /// Print the channels that have subscribers, and how many each.
    Channels(ChannelsArgs),
    /// Print who is on a presence channel, with their info.
    Members(MembersArgs),
    /// End one connection, or all of a user, whose tokens issued until now are refused then.
    Disconnect(DisconnectArgs),
}

#[derive(Debug, Args)]
pub struct TailArgs {
    /// Only events of this channel.
    pub channel: Option<String>,
    /// Begin with the oldest event the ring holds.
    #[arg(long)]
    pub history: bool,
    /// End after this many events.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct PublishArgs {
    pub channel: String,
    /// The payload; `-` reads it from standard input.
    pub payload: String,
    /// Event name.
    #[arg(long)]
    pub event: Option<String>,
    /// Event id that the page sees.
    #[arg(long)]
    pub id: Option<String>,
    /// Milliseconds a browser waits before it reconnects.
    #[arg(long)]
    pub retry: Option<u32>,
    /// Socket id that does not receive the event.
    #[arg(long)]
    pub except: Option<String>,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct ChannelsArgs {
    /// Only names that begin so.
    pub prefix: Option<String>,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct MembersArgs {
    pub channel: String,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct DisconnectArgs {
    /// A socket id (digits, a dot, digits), else a user's id.
    #[arg(value_name = "SOCKET|USER", required_unless_present = "all")]
    pub whom: Option<String>,
    /// Everybody, and refuse every token issued until now.
    #[arg(long, conflicts_with = "whom")]
    pub all: bool,
    #[command(flatten)]
    pub common: Source,
}

/// What the commands that only use a ring need to know.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// Settings file. Default: /etc/askr/askr.toml if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The ring: a shared-memory name such as `/askr`, or a path on tmpfs.
    #[arg(long, value_name = "NAME")]
    pub ring: Option<String>,
}

impl From<Source> for Flags {
    fn from(source: Source) -> Self {
        Self {
            config: source.config,
            ring: source.ring,
            listen: Vec::new(),
        }
    }
}

impl Cli {
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serving_needs_no_verb() {
        for line in [
            &["askrd", "--ring", "/x"][..],
            &["askrd", "serve", "--ring", "/x"],
        ] {
            let Command::Serve(common) = Cli::parse_from(line).into_command() else {
                panic!()
            };
            assert_eq!(common.ring.as_deref(), Some("/x"));
        }
    }

    #[test]
    fn several_addresses_may_be_given() {
        let cli = Cli::parse_from(["askrd", "--listen", "127.0.0.1:0", "--listen", "unix:/x"]);
        let Command::Serve(common) = cli.into_command() else {
            panic!()
        };
        assert_eq!(common.listen, ["127.0.0.1:0", "unix:/x"]);
    }
}

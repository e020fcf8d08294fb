//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::config::Flags;

/// Tails the Askr ring and serves Server-Sent Events.
///
/// Flags override the environment (ASKR_SECTION_KEY), and the environment overrides the file.
#[derive(Debug, Parser)]
#[command(name = "askrd", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Flags,
}

// The doc comments below are the text of `--help`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve events (the default).
    Serve(Flags),
    /// Check the settings: print what is wrong with them (exit code 2), or the settings in force.
    Check(Flags),
    /// Print the metrics of the running daemon.
    Stats(Flags),
    /// Print the events of a live ring as they are published, one JSON object a line.
    Tail(TailArgs),
    /// Print the events of a channel that the ring still holds, the newest by default, oldest first, one JSON object a
    /// line.
    History(HistoryArgs),
    /// Erase the events of a channel that the ring holds: nothing gives them out any more, also after a restart.
    Forget(ForgetArgs),
    /// Publish one event.
    Publish(PublishArgs),
    /// Print the channels that have subscribers, and how many each has.
    Channels(ChannelsArgs),
    /// Print the members of a presence channel, with their info.
    Members(MembersArgs),
    /// Disconnect one connection, or all of a user, and refuse the user's tokens issued until now. Exit code 1 if
    /// nobody was found.
    Disconnect(DisconnectArgs),
}

#[derive(Debug, Args)]
pub struct TailArgs {
    /// Only events of this channel.
    pub channel: Option<String>,
    /// Begin with the oldest event that the ring holds.
    #[arg(long)]
    pub history: bool,
    /// End after this many events.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct HistoryArgs {
    pub channel: String,
    /// At most so many events, 1 to 1000. Default: 100.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Events after this cursor, the oldest first.
    #[arg(long, value_name = "CURSOR")]
    pub since: Option<String>,
    /// Events before this cursor.
    #[arg(long, value_name = "CURSOR")]
    pub before: Option<String>,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct ForgetArgs {
    pub channel: String,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The channel to publish to.
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
    /// Only channels whose name begins with this.
    pub prefix: Option<String>,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct MembersArgs {
    /// A presence channel.
    pub channel: String,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["user", "socket", "all", "target"]))]
pub struct DisconnectArgs {
    /// A user's id.
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// A socket id, such as 123.456.
    #[arg(long, value_name = "ID")]
    pub socket: Option<String>,
    /// Disconnect everybody, and refuse every token issued until now.
    #[arg(long)]
    pub all: bool,
    /// What has the form of a socket id (digits, a dot, digits) is taken for one, all else for a user's id.
    #[arg(value_name = "SOCKET|USER")]
    pub target: Option<String>,
    #[command(flatten)]
    pub common: Source,
}

/// The arguments of the commands that only need settings and a ring.
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
    /// The command to run; without a subcommand, `serve`.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_the_default() {
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

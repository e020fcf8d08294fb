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
    /// Have the running daemon read its settings again: print what is in force now, and what needs a restart. A file that
    /// cannot be used changes nothing.
    Reload(Flags),
    /// Let viewers go at a pace while the daemon goes on, so that a load balancer sends them elsewhere; print how many are
    /// left, and end when nobody is. New viewers are asked to come back, /readyz and /up say 503, until `--stop` or a
    /// restart. Interrupted, the drain goes on.
    Drain(DrainArgs),
    /// Look for what is wrong between PHP and a browser, and print it with the command that mends it. Nothing is printed
    /// where nothing is wrong. Exit code 1: warnings, 2: problems.
    Doctor(DoctorArgs),
    /// Exit code 0 if the running daemon is ready; otherwise 1, and the reason.
    Health(Flags),
    /// Print the metrics of the running daemon; with --watch, the most important of them again and again.
    Stats(StatsArgs),
    /// Print the hosts of each application, and how far behind they are.
    Nodes(NodesArgs),
    /// Print the events of a live ring as they are published, one JSON object a line.
    Tail(TailArgs),
    /// Print the events of a channel that the ring still holds, the newest by default, oldest first, one JSON object a
    /// line.
    History(HistoryArgs),
    /// Erase the events of a channel that the ring holds: nothing gives them out any more, also after a restart.
    Forget(ForgetArgs),
    /// Print what happens to the events of a channel: when each was read, who gets it and who does not, when it was written.
    Trace(TraceArgs),
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
pub struct StatsArgs {
    /// Go on: on a terminal one picture, elsewhere a line each time. Ends at Ctrl-C, or when nobody reads it any more.
    #[arg(long)]
    pub watch: bool,
    /// Seconds from one look to the next, 0.1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval, requires = "watch")]
    pub interval: f64,
    /// End after this many.
    #[arg(long, value_name = "N", requires = "watch")]
    pub count: Option<u64>,
    #[command(flatten)]
    pub common: Flags,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number".to_owned())?;
    match (0.1..=3600.0).contains(&seconds) {
        true => Ok(seconds),
        false => Err("must be between 0.1 and 3600".to_owned()),
    }
}

#[derive(Debug, Args)]
pub struct NodesArgs {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Over how many seconds viewers are let go.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub over: f64,
    /// For how many seconds before that only /readyz and /up say that no more should be sent here.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub notice: f64,
    /// End it: new viewers are welcome again.
    #[arg(long, conflicts_with_all = ["over", "notice"])]
    pub stop: bool,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Where browsers get events, to look at the proxy: `https://shop.example/askr/events`.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// With --url: an origin whose pages are to listen, as a browser says it: `https://app.example`.
    #[arg(long, value_name = "ORIGIN", requires = "url")]
    pub origin: Option<String>,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
    /// The PHP that publishes an event at the end.
    #[arg(long, value_name = "PROGRAM", default_value = "php")]
    pub php: String,
    /// Publish nothing.
    #[arg(long)]
    pub no_event: bool,
    /// Where etc/php is looked for.
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    pub root: PathBuf,
    #[command(flatten)]
    pub common: Source,
}

#[derive(Debug, Args)]
pub struct TailArgs {
    /// Only events of this channel.
    pub channel: Option<String>,
    /// Also events of topics, private ones too.
    #[arg(long)]
    pub topics: bool,
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
pub struct TraceArgs {
    pub channel: String,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
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

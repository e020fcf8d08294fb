//! Settings on the command line.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Settings file. Default: /etc/askr/askr.toml if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen, `host:port` or `unix:/path`; may be given several times.
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// The ring: a shared-memory name such as `/askr`, or a path on tmpfs.
    #[arg(long, value_name = "NAME")]
    pub ring: Option<String>,
}

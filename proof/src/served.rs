//! The real askrd on a ring of the proof's: started, killed, asked how it is.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::roles;
use crate::sse;

/// Where one askrd listens, whichever process it is at the moment.
#[derive(Clone, Debug)]
pub struct Served {
    binary: PathBuf,
    dir: PathBuf,
    pub port: u16,
}

/// No answer of a healthy daemon takes this long, on the busiest machine.
const ANSWER: Duration = Duration::from_secs(30);

impl Served {
    pub fn new(binary: &Path, dir: &Path) -> io::Result<Self> {
        // A port that was free a moment ago; each start of the daemon takes the same.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self {
            binary: std::path::absolute(binary)?,
            dir: dir.to_owned(),
            port,
        })
    }

    /// `second`: with the other sizes of `roles::spec`.
    pub fn start(&self, second: bool) -> io::Result<Child> {
        let spec = roles::spec(&self.dir, second)?;
        let config = self.dir.join("askr.toml");
        // Pings often: the cursor of a quiet stream is what says how far the daemon has come.
        let text = format!(
            "[ring]\nname = \"{}\"\nslots = {}\narena = {}\nwriters = {}\nmax_payload = {}\n\
             [server]\nlisten = [\"127.0.0.1:{}\"]\ncontrol = \"{}\"\nping = 0.5\nworkers = 2\n",
            spec.name,
            spec.slots,
            spec.arena,
            spec.writers,
            spec.max_payload(),
            self.port,
            self.control().display(),
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(&config);
        command.env("RUST_LOG", "error").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn()
    }

    /// Whether /healthz says so. An error: no answer.
    pub fn healthy(&self) -> io::Result<bool> {
        self.asked("/healthz").map(|(status, _)| status == 200)
    }

    /// Status and body of what the control socket answers.
    pub fn asked(&self, path: &str) -> io::Result<(u16, String)> {
        sse::ask(&self.control(), path, ANSWER)
    }

    /// One row of /metrics.
    pub fn metric(&self, name: &str) -> io::Result<u64> {
        let (_, text) = self.asked("/metrics")?;
        let row = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        let missing = || io::Error::other(format!("/metrics has no {name}"));
        text.lines().find_map(row).ok_or_else(missing)
    }

    fn control(&self) -> PathBuf {
        self.dir.join("control.sock")
    }
}

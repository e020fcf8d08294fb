//! What publishers could not publish: they say so in datagrams (`shared::failure_report`), which are counted.
//!
//! The socket is open to every user of the machine: who may not publish is whom this is about. All that can be done with
//! it is to raise the counts.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shared::failure_report::{MAX, Report, beside};

use crate::app::application::App;
use crate::process::state::Process;

/// Datagrams that are read before others get their turn, and how long that is then put off.
const BATCH: usize = 256;
const PAUSE: Duration = Duration::from_millis(10);

/// The socket beside the control socket. Its name is removed when it is dropped.
pub struct Reports {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Drop for Reports {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Reports {
    /// The name of one that was killed is taken over: who has the control socket is the only one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(control: &Path) -> io::Result<Self> {
        let path = beside(control);
        match std::fs::remove_file(&path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        let reports = Self { socket, path };
        std::fs::set_permissions(&reports.path, PermissionsExt::from_mode(0o666))?;
        reports.socket.set_nonblocking(true)?;
        Ok(reports)
    }

    /// Counts what is reported, until it is dropped.
    ///
    /// # Errors
    /// If the socket cannot be used.
    pub fn run(
        &self,
        apps: Vec<Arc<App>>,
        process: Arc<Process>,
    ) -> io::Result<impl Future<Output = io::Result<()>> + use<>> {
        let socket = self.socket.try_clone()?;
        Ok(async move {
            let socket = tokio::net::UnixDatagram::from_std(socket)?;
            // One byte more shows what is too long.
            let mut datagram = [0; MAX + 1];
            loop {
                for _ in 0..BATCH {
                    let len = socket.recv(&mut datagram).await?;
                    count(&datagram[..len], &apps, &process);
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
    }
}

fn count(datagram: &[u8], apps: &[Arc<App>], process: &Process) {
    let report = Report::parse(datagram).filter(|_| datagram.len() <= MAX);
    let Some(report) = report else {
        return process.metrics.reports_malformed.add(1);
    };
    // "/askr" and "/dev/shm/askr" are the same.
    let app = apps
        .iter()
        .find(|app| app.ring.path() == report.ring.path());
    match app {
        Some(app) => app.publishing.failures.add(&report.counts),
        None => process.unclaimed.add(&report.counts),
    }
}

//! Accepts connections, counts them, and passes each to the worker with the fewest. One acceptor for all
//! listeners: SO_REUSEPORT, which would let workers accept, does not exist for Unix sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::config::Network;
use crate::process::admission::Admission;
use crate::process::async_fd;
use crate::process::state::Process;
use crate::server::listeners::Listener;
use crate::server::worker::{Accepted, Peer};

/// Connections accepted in a row before other listeners have their turn.
const BURST: usize = 64;
/// Out of descriptors or memory: how long until the next try.
const PAUSE: Duration = Duration::from_millis(100);

pub struct Acceptor {
    pub process: Arc<Process>,
    pub workers: Vec<UnboundedSender<Accepted>>,
    pub trusted: Vec<Network>,
}

impl Acceptor {
    /// Accepts from `listener` until dropped.
    ///
    /// # Errors
    /// If it cannot be waited for at all.
    pub async fn run(self: Arc<Self>, listener: Listener) -> io::Result<()> {
        let watched = async_fd::readable(listener.as_fd().try_clone_to_owned()?)?;
        loop {
            let mut ready = watched.readable().await?;
            for _ in 0..BURST {
                match accept(&listener) {
                    Ok((peer, address)) => self.assign(peer, address),
                    Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                        ready.clear_ready();
                        break;
                    }
                    // The client went away between its connect and our accept.
                    Err(why) if is_theirs(&why) => {}
                    Err(why) => {
                        self.process.metrics.over_descriptors.add(1);
                        tracing::warn!("cannot accept connections for a moment: {why}");
                        tokio::time::sleep(PAUSE).await;
                        break;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn assign(&self, socket: Peer, address: Option<SocketAddr>) {
        let Process {
            limits, metrics, ..
        } = &*self.process;
        metrics.accepted.add(1);
        // On a Unix socket every peer is a proxy.
        let address = address
            .map(|address| address.ip())
            .filter(|ip| !self.trusted.iter().any(|net| net.contains(*ip)));
        let worker = limits.least_loaded();
        let Some(admission) = Admission::new(limits, metrics, worker, address) else {
            return;
        };
        if prepare(&socket).is_ok() {
            // A worker that has drained takes no more.
            let _ = self.workers[worker].send(Accepted {
                socket,
                address,
                admission,
            });
        }
    }
}

fn accept(listener: &Listener) -> io::Result<(Peer, Option<SocketAddr>)> {
    match listener {
        Listener::Tcp(listener) => {
            let (socket, address) = listener.accept()?;
            Ok((Peer::Tcp(socket), Some(address)))
        }
        Listener::Unix { listener, .. } => Ok((Peer::Unix(listener.accept()?.0), None)),
    }
}

/// Other options are inherited from its listener (`listeners.rs`).
fn prepare(socket: &Peer) -> io::Result<()> {
    match socket {
        Peer::Tcp(socket) => socket.set_nonblocking(true),
        Peer::Unix(socket) => socket.set_nonblocking(true),
    }
}

/// Errors of the connection that was to be accepted, not of this process (accept(2)).
fn is_theirs(why: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(
        why.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied
    )
}

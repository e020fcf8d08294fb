//! Accepts connections, counts them, and passes each to the worker with the fewest: on the main thread for several workers
//! (SO_REUSEPORT, which would let each accept, does not exist for Unix sockets), on the worker itself if it is the only one,
//! so that no connection is passed between threads.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, UnixListener};

use crate::config::Network;
use crate::http::arrivals::{AT_ONCE, Arrival, Peer};
use crate::process::admission::Admission;
use crate::process::async_fd;
use crate::process::current::Current;
use crate::process::state::Process;
use crate::server::listeners::Listener;

/// Out of descriptors or memory: how long until the next try.
const PAUSE: Duration = Duration::from_millis(100);

pub struct Acceptor {
    pub process: Arc<Process>,
    /// Replaced at a reload.
    pub trusted: Arc<Current<Vec<Network>>>,
}

/// Who takes connections over.
pub trait Takes {
    fn take(&self, worker: usize, arrival: Arrival);

    /// Whether connections wait until it is done with something that comes before them.
    fn is_busy(&self) -> bool {
        false
    }
}

impl Acceptor {
    /// Accepts from `listener` until dropped.
    ///
    /// # Errors
    /// If it cannot be waited for at all.
    pub async fn run(self: Arc<Self>, listener: Listener, to: impl Takes) -> io::Result<()> {
        let watched = async_fd::readable(listener.as_fd().try_clone_to_owned()?)?;
        let source = Source::new(&listener)?;
        loop {
            let mut ready = watched.readable().await?;
            // However many come, other listeners and the streams have their turn.
            for _ in 0..AT_ONCE {
                if to.is_busy() {
                    break;
                }
                match source.accept() {
                    Ok((peer, address)) => self.assign(peer, address, &to),
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

    fn assign(&self, socket: Peer, address: Option<SocketAddr>, to: &impl Takes) {
        let Process {
            limits, metrics, ..
        } = &*self.process;
        metrics.accepted.add(1);
        // On a Unix socket every peer is a proxy.
        let address = address
            .map(|address| address.ip())
            .filter(|ip| !self.trusted.get().iter().any(|net| net.contains(*ip)));
        let worker = limits.least_loaded();
        let Some(admission) = Admission::new(limits, metrics, worker, address) else {
            return;
        };
        let arrival = Arrival {
            socket,
            address,
            admission,
        };
        to.take(worker, arrival);
    }
}

/// A listener whose connections are non-blocking from the first call on: the standard library's take a second one for
/// that. Their other options are inherited (`listeners.rs`).
enum Source {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Source {
    fn new(listener: &Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(tcp) => Self::Tcp(TcpListener::from_std(tcp.try_clone()?)),
            Listener::Unix { listener, .. } => {
                Self::Unix(UnixListener::from_std(listener.try_clone()?))
            }
        })
    }

    fn accept(&self) -> io::Result<(Peer, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, address) = listener.accept()?;
                Ok((Peer::Tcp(socket.into()), Some(address)))
            }
            Self::Unix(listener) => Ok((Peer::Unix(listener.accept()?.0.into()), None)),
        }
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

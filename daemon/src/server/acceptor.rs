//! Accepts connections, counts them, and passes each to the worker with the fewest: on the main thread for several workers
//! (SO_REUSEPORT, which would let each accept, does not exist for Unix sockets), on the worker itself if it is the only one,
//! so that no connection is passed between threads.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SocketFlags, accept_with, acceptfrom_with};

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
        loop {
            let mut ready = watched.readable().await?;
            // However many come, other listeners and the streams have their turn.
            for _ in 0..AT_ONCE {
                if to.is_busy() {
                    break;
                }
                match accept(&listener) {
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

/// Accepts one connection, non-blocking from this call on: the standard library's take a second one for that. Its other
/// options are inherited (`listeners.rs`). On a Unix socket the kernel is not asked whose it is: it would write down an
/// address without a name.
fn accept(listener: &Listener) -> io::Result<(Peer, Option<SocketAddr>)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    match listener {
        Listener::Tcp(tcp) => {
            let (socket, address) = acceptfrom_with(tcp, flags)?;
            let address = address.ok_or(io::ErrorKind::ConnectionAborted)?;
            Ok((Peer::Tcp(socket), Some(address.try_into()?)))
        }
        Listener::Unix { listener, .. } => Ok((Peer::Unix(accept_with(listener, flags)?), None)),
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

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    /// The address of a client, whose socket is non-blocking.
    fn accepted(listener: &Listener) -> Option<SocketAddr> {
        let (peer, address) = accept(listener).unwrap();
        let (Peer::Tcp(fd) | Peer::Unix(fd)) = peer;
        let flags = OFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GETFL).unwrap());
        assert!(flags.contains(OFlag::O_NONBLOCK));
        address
    }

    #[test]
    fn a_client_has_the_address_that_it_connects_from() {
        for (listens, connects) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::]:0", "::1"),
            // Mapped into IPv6.
            ("[::]:0", "127.0.0.1"),
        ] {
            // Where there is no IPv6 there is nothing to accept.
            let Ok(tcp) = TcpListener::bind(listens) else {
                continue;
            };
            let to: std::net::IpAddr = connects.parse().unwrap();
            let Ok(client) = TcpStream::connect((to, tcp.local_addr().unwrap().port())) else {
                continue;
            };
            let address = accepted(&Listener::Tcp(tcp)).unwrap();
            let from = client.local_addr().unwrap();
            assert_eq!(address.ip().to_canonical(), from.ip());
            assert_eq!(address.port(), from.port());
        }
    }

    #[test]
    fn a_client_of_a_unix_socket_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let listener = Listener::Unix {
            listener,
            path,
            inherited: false,
        };
        assert_eq!(accepted(&listener), None);
    }
}

//! Listening sockets: opened here, or inherited from the service manager (sd_listen_fds(3)), which keeps them
//! open, with the clients waiting, while askrd is restarted. All are set up in one place.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Gid, Group, chown};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::{Address, Mode};
use crate::server::cannot_start::CannotStart;
use crate::server::defer_accept::defer_accept;

/// A client that acknowledges nothing for this long is gone, unless `server.write_timeout` gives it more; the
/// kernel's own limit is 15 minutes. Not less: a network may be interrupted for a while.
const LEAST_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of one connection in the kernel that have not been sent yet. What a slow client does not take waits in
/// its outbox instead, where it is counted and shared, not in megabytes of kernel memory. Bytes that have been
/// sent and not acknowledged come on top: the network needs them.
pub const UNSENT: u32 = 256 << 10;

/// Connections the kernel queues while askrd is busy or restarting; it limits this to net.core.somaxconn.
const BACKLOG: i32 = 4096;

#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        path: PathBuf,
        /// Its name in the file system belongs to the service manager.
        inherited: bool,
    },
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix { listener, .. } => listener.as_fd(),
        }
    }
}

impl Listener {
    /// Whether it is the socket with this name, or with another name of the same file.
    fn is_at(&self, wanted: &Path) -> bool {
        let file = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        match self {
            Self::Unix { path, .. } => {
                path == wanted || file(path).is_some_and(|it| file(wanted) == Some(it))
            }
            Self::Tcp(_) => false,
        }
    }

    /// Whether connections to `wanted` come to it: `[::]:80` takes those to `127.0.0.1:80`, too, if it is no socket for
    /// IPv6 only.
    fn takes(&self, wanted: SocketAddr) -> bool {
        let Self::Tcp(tcp) = self else {
            return false;
        };
        let Ok(own) = tcp.local_addr() else {
            return false;
        };
        let all = own.ip().is_unspecified()
            && (own.is_ipv4() == wanted.is_ipv4()
                || own.is_ipv6() && !SockRef::from(tcp).only_v6().unwrap_or(true));
        own.port() == wanted.port() && (own.ip() == wanted.ip() || all)
    }
}

impl Drop for Listener {
    /// Removes the name: one that nothing listens on only confuses.
    fn drop(&mut self) {
        if let Self::Unix {
            path,
            inherited: false,
            ..
        } = self
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Who may connect to a Unix socket.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    pub mode: Mode,
    pub group: Option<Gid>,
}

impl Access {
    /// `group`: a name or a number; empty for the daemon's own.
    pub fn new(mode: Mode, group: &str) -> Result<Self, String> {
        if group.is_empty() {
            return Ok(Self { mode, group: None });
        }
        let number = group.parse().ok().map(Gid::from_raw);
        let named = || {
            Group::from_name(group)
                .ok()
                .flatten()
                .map(|group| group.gid)
        };
        match number.or_else(named) {
            Some(gid) => Ok(Self {
                mode,
                group: Some(gid),
            }),
            None => Err(format!("group \"{group}\" does not exist")),
        }
    }
}

/// Takes the `inherited` listeners, and opens every address that none of them takes connections for; a host name may
/// stand for several. Non-blocking.
///
/// # Errors
/// A sentence with the address.
pub fn open(
    addresses: &[String],
    access: Access,
    inherited: Vec<Listener>,
    write_timeout: Duration,
) -> Result<Vec<Listener>, CannotStart> {
    let held = inherited.len();
    let mut listed = vec![false; held];
    let mut listeners = inherited;
    // Whether one of them takes connections to what `takes` asks for; an inherited one is noted as listed.
    let mut covered = |listeners: &[Listener], takes: &dyn Fn(&Listener) -> bool| {
        let found = listeners.iter().position(takes);
        if let Some(listed) = found.and_then(|n| listed.get_mut(n)) {
            *listed = true;
        }
        found.is_some()
    };
    for text in addresses {
        let failed = |why: io::Error| format!("cannot listen on {text}: {why}");
        match text.parse::<Address>()? {
            Address::Unix(path) => {
                if !covered(&listeners, &|listener| listener.is_at(&path)) {
                    let denied = |why: &io::Error| why.kind() == io::ErrorKind::PermissionDenied;
                    let listener = unix(&path, access).map_err(|why| {
                        let group = access.group.filter(|_| denied(&why));
                        let group = group.and_then(|group| {
                            CannotStart::of_group("server.socket_group", &path, group)
                        });
                        group.unwrap_or_else(|| failed(why).into())
                    })?;
                    listeners.push(listener);
                }
            }
            Address::Tcp(name) => {
                for address in name.to_socket_addrs().map_err(failed)? {
                    if !covered(&listeners, &|listener| listener.takes(address)) {
                        listeners.push(Listener::Tcp(tcp(address).map_err(failed)?));
                    }
                }
            }
        }
    }
    for (listener, listed) in listeners.iter().zip(listed) {
        let name = name(listener);
        match listed {
            true => tracing::info!("the service manager holds {name}"),
            false => tracing::warn!(
                "the service manager holds {name}, which is not in server.listen: it is served all the same"
            ),
        }
    }
    for listener in &listeners {
        if let Listener::Tcp(tcp) = listener {
            let failed = |why| format!("cannot set up {}: {why}", name(listener));
            tune(tcp, write_timeout).map_err(failed)?;
        }
    }
    Ok(listeners)
}

/// A listener that only operators reach, at the address of this key; none if that is empty.
///
/// # Errors
/// A sentence with key and address.
pub fn of_operators(
    key: &str,
    address: &str,
    access: Access,
) -> Result<Vec<Listener>, CannotStart> {
    if address.is_empty() {
        return Ok(Vec::new());
    }
    let opened = open(
        &[address.to_owned()],
        access,
        Vec::new(),
        LEAST_USER_TIMEOUT,
    );
    let opened = opened.map_err(|cannot| CannotStart {
        why: format!("{key}: {}", cannot.why),
        ..cannot
    })?;
    for listener in &opened {
        tracing::info!("{key} is at {}", name(listener));
    }
    Ok(opened)
}

/// Sets the options that connections inherit from their listener, and when they are handed over.
pub fn tune(tcp: &TcpListener, write_timeout: Duration) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(write_timeout.max(LEAST_USER_TIMEOUT)))?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    defer_accept(tcp)
}

/// The sockets that came with LISTEN_FDS; none if that is not meant for this process. Changes the
/// environment, so it comes before any thread.
///
/// # Errors
/// A sentence, if one of them is no listening stream socket.
pub fn inherited() -> Result<Vec<Listener>, String> {
    let mut handed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for n in 0..handed.len() {
        let failed = |why: io::Error| format!("cannot use socket {n} of LISTEN_FDS: {why}");
        // Each asks the kernel what the socket is, and leaves it if it is something else.
        if let Ok(Some(tcp)) = handed.take_tcp_listener(n) {
            tcp.set_nonblocking(true).map_err(failed)?;
            check_listening(&tcp).map_err(failed)?;
            listeners.push(Listener::Tcp(tcp));
            continue;
        }
        match handed.take_unix_listener(n).map_err(failed)? {
            Some(listener) => {
                listener.set_nonblocking(true).map_err(failed)?;
                check_listening(&listener).map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                listeners.push(Listener::Unix {
                    path: address.as_pathname().unwrap_or(Path::new("")).to_owned(),
                    listener,
                    inherited: true,
                });
            }
            None => return Err(format!("socket {n} of LISTEN_FDS is gone")),
        }
    }
    Ok(listeners)
}

/// With Accept=yes the service manager hands over connections.
fn check_listening(socket: &impl AsFd) -> io::Result<()> {
    match getsockopt(socket, sockopt::AcceptConn)? {
        true => Ok(()),
        false => Err(io::Error::other("it does not listen; use Accept=no")),
    }
}

/// What `listener` is called in the log: `http://127.0.0.1:8080`, `unix:/run/askr/askrd.sock`.
pub fn name(listener: &Listener) -> String {
    match listener {
        Listener::Tcp(tcp) => match tcp.local_addr() {
            Ok(address) => format!("http://{address}"),
            Err(why) => format!("tcp ({why})"),
        },
        Listener::Unix { path, .. } => format!("unix:{}", path.display()),
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A socket that has the address, and does not listen. Whoever listens there has it still.
pub fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the last connections' end.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Otherwise [::] would take 0.0.0.0's place too, or not, as the system is set.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

pub fn unix(path: &Path, access: Access) -> io::Result<Listener> {
    let listener = bound_unix(path, access)?;
    // Only now: before its file has its mode, nobody can connect.
    SockRef::from(&listener.as_fd()).listen(BACKLOG)?;
    Ok(listener)
}

/// A socket whose file is there, for whom it is meant, and that does not listen yet.
fn bound_unix(path: &Path, access: Access) -> io::Result<Listener> {
    if is_stale(path)? {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    socket.set_nonblocking(true)?;
    // From here on the name is removed with the listener.
    let listener = Listener::Unix {
        listener: socket.into(),
        path: path.to_owned(),
        inherited: false,
    };
    if access.group.is_some() {
        chown(path, None, access.group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(access.mode.0))?;
    Ok(listener)
}

/// Whether a socket without a listener is there: a daemon that was killed leaves its own.
///
/// # Errors
/// If anything else is there.
pub fn is_stale(path: &Path) -> io::Result<bool> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(false);
    };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is no socket is there",
        ));
    }
    match UnixStream::connect(path) {
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "somebody already listens there",
        )),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: Access = Access {
        mode: Mode(0o600),
        group: None,
    };
    const TIMEOUT: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_accepted_has_its_options_also_from_an_inherited_listener() {
        let handed = TcpListener::bind("[::1]:0").unwrap();
        handed.set_nonblocking(true).unwrap();
        for (timeout, expected) in [(60, 60), (90, 90), (1, 30)] {
            let handed = Listener::Tcp(handed.try_clone().unwrap());
            let timeout = Duration::from_secs(timeout);
            let all = open(&["127.0.0.1:0".into()], ACCESS, vec![handed], timeout).unwrap();
            assert_eq!(all.len(), 2);
            for listener in &all {
                let Listener::Tcp(tcp) = listener else {
                    panic!()
                };
                tcp.set_nonblocking(false).unwrap();
                let _client = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
                let (accepted, _) = tcp.accept().unwrap();
                let socket = SockRef::from(&accepted);
                assert!(socket.tcp_nodelay().unwrap());
                let patience = socket.tcp_user_timeout().unwrap();
                assert_eq!(patience, Some(Duration::from_secs(expected)));
                assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT);
            }
        }
    }

    #[test]
    fn nobody_connects_to_a_unix_socket_before_its_file_has_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let bound = bound_unix(&path, ACCESS).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = UnixStream::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        drop(bound);
        let _listener = unix(&path, ACCESS).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn an_inherited_listener_is_found_by_what_it_takes_connections_for() {
        let held = |address: &str, only_v6| {
            let address: SocketAddr = address.parse().unwrap();
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            if address.is_ipv6() {
                socket.set_only_v6(only_v6).unwrap();
            }
            socket.bind(&address.into()).unwrap();
            socket.listen(1).unwrap();
            Listener::Tcp(socket.into())
        };
        for (address, only_v6, wanted, found) in [
            ("127.0.0.1:0", false, "127.0.0.1", true),
            ("127.0.0.1:0", false, "127.0.0.2", false),
            ("0.0.0.0:0", false, "127.0.0.1", true),
            ("[::]:0", false, "0.0.0.0", true),
            ("[::]:0", false, "127.0.0.1", true),
            ("[::]:0", true, "127.0.0.1", false),
            ("[::]:0", true, "[::1]", true),
            ("[::1]:0", false, "127.0.0.1", false),
        ] {
            let listener = held(address, only_v6);
            let Listener::Tcp(tcp) = &listener else {
                panic!()
            };
            let port = tcp.local_addr().unwrap().port();
            let all = open(
                &[format!("{wanted}:{port}")],
                ACCESS,
                vec![listener],
                TIMEOUT,
            );
            let expected = if found { 1 } else { 2 };
            assert_eq!(all.unwrap().len(), expected, "{address} for {wanted}");
        }

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let linked = directory.path().join("linked");
        std::os::unix::fs::symlink(directory.path(), &linked).unwrap();
        let all = [
            path.clone(),
            linked.join("s"),
            directory.path().join("other"),
        ];
        let all = all.map(|path| format!("unix:{}", path.display()));
        let held = Listener::Unix {
            listener: UnixListener::bind(&path).unwrap(),
            path,
            inherited: true,
        };
        assert_eq!(open(&all, ACCESS, vec![held], TIMEOUT).unwrap().len(), 2);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        // Dropping std's listener leaves the name, as a kill does.
        drop(UnixListener::bind(&path).unwrap());
        let listener = unix(&path, ACCESS).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            unix(&path, ACCESS).err().map(|e| e.kind()),
            Some(io::ErrorKind::AddrInUse)
        );
        drop(listener);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert_eq!(
            unix(&path, ACCESS).err().map(|e| e.kind()),
            Some(io::ErrorKind::AlreadyExists)
        );
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn port_0_is_logged_as_the_port_that_was_assigned() {
        let listeners = open(&["127.0.0.1:0".into()], ACCESS, Vec::new(), TIMEOUT).unwrap();
        let name = name(&listeners[0]);
        assert!(
            name.starts_with("http://127.0.0.1:") && !name.ends_with(":0"),
            "{name}"
        );
        assert!(
            open(
                &["no-such-host.invalid:1".into()],
                ACCESS,
                Vec::new(),
                TIMEOUT
            )
            .unwrap_err()
            .why
            .contains("no-such-host")
        );
    }
}

//! Why a restart with new settings would fail, because it could not have their addresses or use their files: told at a reload,
//! while there is still somebody who serves.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::config::{Address, Settings};
use crate::server::{listeners, preflight};

/// A sentence for each. `held`: the listeners of this process.
pub fn of(running: &Settings, new: &Settings, held: &[TcpListener]) -> Vec<String> {
    let named = |(section, key, why): (String, &str, String)| format!("{section}.{key}: {why}");
    let mut all = addresses_of(running, new, held);
    all.extend(preflight::wrongs(new).into_iter().map(named));
    all
}

/// Those that `new` has, `running` has not, and nobody could listen on now.
fn addresses_of(running: &Settings, new: &Settings, held: &[TcpListener]) -> Vec<String> {
    let before: Vec<Address> = addresses(running)
        .into_iter()
        .map(|(_, _, address)| address)
        .collect();
    // Also those of port 0, and of the service manager.
    let held = held.iter().filter_map(|tcp| tcp.local_addr().ok());
    let held: Vec<u16> = held.map(|own| own.port()).collect();
    let added = addresses(new)
        .into_iter()
        .filter(|(_, _, address)| !before.contains(address));
    let told = added.filter_map(|(key, text, address)| {
        let why = match &address {
            Address::Tcp(name) => tcp(name, &before, &held),
            Address::Unix(path) if before.iter().any(|own| is_at(own, path)) => Ok(()),
            Address::Unix(path) => unix(path),
        };
        let why = why.err()?;
        Some(format!("server.{key}: cannot listen on {text}: {why}"))
    });
    told.collect()
}

/// All that settings listen on: key, text, meaning.
fn addresses(settings: &Settings) -> Vec<(&'static str, String, Address)> {
    let server = &settings.server;
    let control = server
        .control_path()
        .map(|path| format!("unix:{}", path.display()));
    let control = control.unwrap_or_default();
    let listen = server.listen.iter().map(|text| ("listen", text));
    let own = [
        ("metrics", &server.metrics),
        ("dashboard", &server.dashboard),
        ("control", &control),
    ];
    let parsed = listen
        .chain(own)
        .filter_map(|(key, text)| Some((key, text.clone(), text.parse().ok()?)));
    parsed.collect()
}

/// A port that this process has itself says nothing about the one after it.
fn tcp(name: &str, before: &[Address], held: &[u16]) -> io::Result<()> {
    let is_own = |wanted: SocketAddr| {
        let port = wanted.port();
        let ends = format!(":{port}");
        let named = |own: &Address| matches!(own, Address::Tcp(name) if name.ends_with(&ends));
        port == 0 || held.contains(&port) || before.iter().any(named)
    };
    name.to_socket_addrs()?
        .filter(|address| !is_own(*address))
        .try_for_each(|address| listeners::bound(address).map(drop))
}

/// Makes nothing there, and leaves a socket that nobody listens on as it is.
fn unix(path: &Path) -> io::Result<()> {
    listeners::is_stale(path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    access(directory, AccessFlags::W_OK)?;
    Ok(())
}

/// Whether it is this socket, or another name of it.
fn is_at(own: &Address, path: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let Address::Unix(own) = own else {
        return false;
    };
    file(own).is_some_and(|it| file(path) == Some(it))
}

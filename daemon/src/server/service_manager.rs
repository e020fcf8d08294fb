//! What the service manager is told, as sd_notify(3) has it. Each message is waited for, though not for ever: one that does
//! not read would keep askrd from stopping.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// For news without which it takes the start, or a reload, for one that failed.
const LONG: Duration = Duration::from_secs(30);
/// For the rest.
const SHORT: Duration = Duration::from_secs(1);

pub fn ready() {
    tell(&[NotifyState::Ready], LONG);
}

pub fn reloading() {
    // systemd pairs the notification with its request by this clock.
    let now = NotifyState::monotonic_usec_now().unwrap_or(NotifyState::MonotonicUsec(0));
    tell(&[NotifyState::Reloading, now], LONG);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping], SHORT);
}

/// That all threads go round. Only for one that asked for it.
pub fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog], SHORT);
    }
}

/// At best effort: there may be none.
fn tell(states: &[NotifyState<'_>], patience: Duration) {
    if let Err(why) = try_tell(states, patience) {
        tracing::debug!("the service manager cannot be told: {why}");
    }
}

fn try_tell(states: &[NotifyState<'_>], patience: Duration) -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let to = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(OsStr::from_bytes(name.as_bytes()))?,
    };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(patience))?;
    socket.send_to_addr(text.as_bytes(), &to)?;
    Ok(())
}

//! The daemon itself: whether it is there, ready, and allowed enough descriptors.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt};
use shared::control::Trouble;

use super::finding::Findings;
use super::processes;
use super::processes::Process;
use crate::cli::commands::control_client::try_ask;
use crate::config::{Io, Settings};

const PART: &str = "askrd";
/// Below this many files a site that is looked at by more people than its makers turns viewers away.
const FEW: u64 = 4096;

/// Whether it runs; None: nobody can tell.
pub fn examine(settings: &Settings, findings: &mut Findings) -> Option<bool> {
    let Some(socket) = settings.server.control_path() else {
        let what = "server.control names no socket (it is \"none\", or /run/askr is missing), so \
                    nobody can ask whether askrd runs";
        findings.warning(PART, what.into(), "systemctl status askrd");
        return None;
    };
    let at = socket.display();
    match try_ask(&socket, "/readyz") {
        Ok(_) => {}
        Err(Trouble::Away(why)) if why.kind() == ErrorKind::PermissionDenied => {
            let what = format!("this user may not connect to {at}");
            findings.problem(PART, what, "run it as root: sudo askrd doctor");
            return Some(false);
        }
        Err(Trouble::Away(_)) => {
            let what = format!("it does not run: nobody answers at {at}");
            let mend = "systemctl start askrd; why it ended: journalctl -u askrd -p warning";
            findings.problem(PART, what, mend);
            return Some(false);
        }
        Err(Trouble::Refused { why, .. }) => {
            let what = format!("it is not ready: {why}");
            findings.problem(PART, what, "journalctl -u askrd -p warning");
        }
        Err(why) => {
            let what = format!("askrd at {at} {why}");
            findings.problem(PART, what, "systemctl restart askrd");
            return Some(false);
        }
    }
    let peer = UnixStream::connect(&socket).ok();
    let peer = peer.and_then(|peer| getsockopt(&peer, sockopt::PeerCredentials).ok());
    let process = peer.and_then(|peer| processes::process(peer.pid() as u32));
    counted(&socket, findings);
    for path in settings.server.sockets() {
        is_open(&path, findings);
    }
    if let Some(process) = &process {
        is_current(process, findings);
        writes_together(settings, process, findings);
    }
    if let Some(files) = process.and_then(|process| open_files(process.id))
        && files < FEW
        && settings.server.max_connections == 0
    {
        let what = format!("it may open {files} files, and each viewer is one");
        let mend = "LimitNOFILE=1048576 in its unit (systemctl edit askrd), then restart it";
        findings.warning(PART, what, mend);
    }
    Some(true)
}

/// Whether a proxy may connect where it listens.
fn is_open(socket: &Path, findings: &mut Findings) {
    let at = socket.display();
    let Ok(meta) = std::fs::metadata(socket) else {
        let what = format!("{at} is not there, where it is to listen, so no proxy can reach it");
        let mend = "systemctl restart askrd (with askrd.socket: systemctl stop askrd askrd.socket && systemctl start askrd.socket askrd)";
        return findings.problem(PART, what, mend);
    };
    if is_shut(&meta) {
        let mode = meta.mode() & 0o777;
        let what = format!("no group may connect to {at} (mode {mode:04o}), so no proxy can");
        let mend = format!(
            "chmod 0660 {at}; for good: server.socket_mode, or SocketMode= of askrd.socket"
        );
        findings.problem(PART, what, mend);
    }
}

/// Nobody but root and askrd's own user may connect.
pub fn is_shut(socket: &Metadata) -> bool {
    socket.mode() & 0o022 == 0
}

/// What it says of itself by numbers.
fn counted(socket: &Path, findings: &mut Findings) {
    let metrics = try_ask(socket, "/metrics").unwrap_or_default();
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    let value = |name: &str| -> u64 {
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    let waiting = value("askr_settings_waiting_for_restart");
    if waiting > 0 {
        let what = format!("{waiting} settings have changed and wait for a restart");
        findings.warning(
            PART,
            what,
            "which: askrd reload; then: systemctl restart askrd",
        );
    }
    if value("askr_revocations_in_future") > 0 {
        let what =
            "tokens were revoked while its clock was ahead: those issued until then are refused";
        let mend = "journalctl -u askrd says until when; or remove the file of revocations in server.state_directory";
        findings.warning(PART, what.into(), mend);
    }
}

/// After an upgrade the old one goes on until it is restarted.
fn is_current(process: &Process, findings: &mut Findings) {
    if process.runs_former("askrd") {
        let what = "it is the build of before the upgrade, which runs until it is restarted";
        findings.warning(PART, what.into(), "systemctl restart askrd");
    }
}

/// Whether it can write to many viewers with one system call.
fn writes_together(settings: &Settings, process: &Process, findings: &mut Findings) {
    let without = process.has_open("anon_inode:[io_uring]") == Some(false);
    if settings.server.io == Io::Auto && without {
        let what = "io_uring cannot be had, so each event costs a system call for each viewer";
        let mend = "sysctl kernel.io_uring_disabled=0, or a container's seccomp profile; server.io = \"write\" is silent";
        findings.note(PART, what.into(), mend);
    }
}

/// The process's limit of open files.
fn open_files(process: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

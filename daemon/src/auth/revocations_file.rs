//! Keeps revocations across restarts: a file with all of them, rewritten after each change.
//!
//! ```text
//! askr revocations 1
//! all 1800000000
//! 1800000123 a user's id
//! ```
//!
//! A revocation takes effect at once; the file follows shortly after, written by a thread of its own, so that no
//! subscriber waits for the disk. Changes made in the meantime are written together. The new file is complete and
//! synced to disk before it replaces the old one.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shared::grant;
use shared::guarded_file::{self, Rules, Unusable};

use super::revoked::{Ahead, DEFAULT_USERS, Revoked};
use crate::process::parts;

const HEAD: &str = "askr revocations 1";
/// The longest file has as many users as are kept, with the longest ids. Others may read it, as it has no secret.
const FILE: Rules = Rules {
    max: (DEFAULT_USERS * (grant::MAX_USER + 24)) as u64,
    forbidden: 0o022,
    must: "must be writable by its owner alone",
    chmod: "go-w",
};
/// The least pause between two writes; it is also at least nine times the duration of the last one.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the file in step with the revocations. When it is dropped, it writes pending changes.
#[derive(Debug)]
pub struct RevocationsFile {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    revoked: Arc<RwLock<Revoked>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Changes made.
    made: u64,
    /// Changes that are in the file.
    written: u64,
    /// Writes that failed.
    failed: u64,
    stopping: bool,
}

/// The most revocations in the future that are logged one by one.
const TOLD: usize = 10;

/// Reads the revocations at `now` (seconds since 1970); none, if there is no file.
///
/// One in the future was made while the clock was ahead, and would refuse tokens until then. It counts as made at
/// `now`, and is logged.
///
/// # Errors
/// One line: the file, and why it cannot be used.
pub fn read(path: &Path, now: u64) -> Result<Revoked, String> {
    let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    match guarded_file::read(path, &FILE) {
        Ok((text, _)) => {
            let (revoked, ahead) = parse(&text, now).map_err(|why| at(&why))?;
            tell(path, &ahead);
            Ok(revoked)
        }
        Err(Unusable::Io(why)) if why.kind() == io::ErrorKind::NotFound => Ok(Revoked::default()),
        Err(why) => Err(at(&why)),
    }
}

fn tell(path: &Path, ahead: &[Ahead]) {
    let file = path.display();
    for one in ahead.iter().take(TOLD) {
        tracing::warn!(
            "{file}: {one}: the clock was ahead then, or is behind now. It counts as made now: tokens issued from \
             now on are taken. A token that was issued while the clock was ahead becomes valid when its time comes: \
             change the secret, or disconnect this user again then"
        );
    }
    if ahead.len() > TOLD {
        let more = ahead.len() - TOLD;
        tracing::warn!("{file}: {more} more revocations are in the future and count as made now");
    }
}

/// The revocations, and those that were in the future.
///
/// # Errors
/// The line's number and what it must be.
fn parse(text: &str, now: u64) -> Result<(Revoked, Vec<Ahead>), String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err(format!("line 1: must be \"{HEAD}\""));
    }
    let (mut revoked, mut ahead) = (Revoked::default(), Vec::new());
    let mut not_ahead = |user: Option<&str>, until: u64| {
        if until > now {
            let user = user.map(str::to_owned);
            ahead.push(Ahead { user, until });
        }
        until.min(now)
    };
    let time = |text: &str| text.parse::<u64>().ok();
    for (line, number) in lines.zip(2..) {
        let (first, rest) = line.split_once(' ').unwrap_or_default();
        match (first, time(first), time(rest)) {
            ("all", _, Some(at)) => revoked.revoke_all(not_ahead(None, at)),
            (_, Some(at), _) if grant::user(rest.as_bytes()).is_ok() => {
                revoked.revoke_user(rest, not_ahead(Some(rest), at));
            }
            _ => {
                return Err(format!(
                    "line {number}: must be \"all TIME\" or \"TIME USER\""
                ));
            }
        }
    }
    Ok((revoked, ahead))
}

fn text(revoked: &Revoked) -> String {
    let mut text = format!("{HEAD}\n");
    if let Some(at) = revoked.floor() {
        let _ = writeln!(text, "all {at}");
    }
    for (at, user) in revoked.users() {
        // An invalid user could not be read again and would keep the daemon from starting; no token has one.
        if grant::user(user.as_bytes()).is_ok() {
            let _ = writeln!(text, "{at} {user}");
        }
    }
    text
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    // Always the same name, so that a file left behind by a killed daemon is overwritten.
    let new = directory.join(format!(".{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&new)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

impl RevocationsFile {
    /// Writes the file once, then starts a thread that writes it after each change.
    ///
    /// # Errors
    /// One line: the file, and why it cannot be written.
    pub fn start(path: &Path, revoked: Arc<RwLock<Revoked>>) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            revoked,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let at = |why: io::Error| format!("{}: cannot be written: {why}", path.display());
        shared.write().map_err(at)?;
        let writer = parts::thread("revocations", {
            let shared = shared.clone();
            move || {
                shared.run();
                Ok(())
            }
        });
        Ok(Self {
            shared,
            writer: Some(writer.map_err(at)?),
        })
    }

    /// Schedules a write after a change. Never waits for the disk.
    pub fn change(&self) {
        self.shared.lock().made += 1;
        self.shared.changed.notify_all();
    }

    /// Waits until all earlier changes are on disk.
    #[cfg(test)]
    pub fn flush(&self) {
        let state = self.shared.lock();
        let made = state.made;
        let wait = self
            .shared
            .changed
            .wait_while(state, |state| state.written < made);
        drop(wait);
    }

    /// The number of failed writes, each of which is retried.
    pub fn failed(&self) -> u64 {
        self.shared.lock().failed
    }
}

impl Drop for RevocationsFile {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> io::Result<()> {
        let text = {
            let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
            text(&revoked)
        };
        write(&self.path, &text)
    }

    fn run(&self) {
        loop {
            let idle = |state: &mut State| state.made == state.written && !state.stopping;
            let state = self.changed.wait_while(self.lock(), idle);
            let state = state.unwrap_or_else(PoisonError::into_inner);
            let (made, stopping) = (state.made, state.stopping);
            if made == state.written {
                return;
            }
            // Changes made from here on do not have to wait, and are written next time.
            drop(state);
            let began = Instant::now();
            let written = self.write();
            let mut state = self.lock();
            let pause = match &written {
                Ok(()) => {
                    state.written = made;
                    PAUSE.max(9 * began.elapsed())
                }
                Err(why) => {
                    state.failed += 1;
                    tracing::error!("{}: cannot be written: {why}", self.path.display());
                    RETRY
                }
            };
            self.changed.notify_all();
            if stopping && written.is_err() {
                return;
            }
            let running = |state: &mut State| !state.stopping;
            drop(self.changed.wait_timeout_while(state, pause, running));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn shared(revoked: Revoked) -> Arc<RwLock<Revoked>> {
        Arc::new(RwLock::new(revoked))
    }

    #[test]
    fn written_revocations_are_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revocations");
        let revoked = shared(read(&path, NOW).unwrap());
        let file = RevocationsFile::start(&path, revoked.clone()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "askr revocations 1\n");
        revoked.write().unwrap().revoke_all(NOW - 50);
        revoked.write().unwrap().revoke_user("Ægir  7 ", NOW - 10);
        file.change();
        file.flush();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!(
                "askr revocations 1\nall {}\n{} Ægir  7 \n",
                NOW - 50,
                NOW - 10
            )
        );
        revoked.write().unwrap().revoke_user("8", NOW - 5);
        file.change();
        drop(file);

        let again = read(&path, NOW).unwrap();
        assert!(again.refuses(None, Some(NOW - 50)) && !again.refuses(None, Some(NOW - 49)));
        assert!(again.refuses(Some("Ægir  7 "), Some(NOW - 10)));
        assert!(
            again.refuses(Some("8"), Some(NOW - 5)),
            "written when it was dropped"
        );
        assert!(!again.refuses(Some("8"), Some(NOW - 4)));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn many_concurrent_changes_are_all_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revocations");
        let revoked = shared(Revoked::default());
        let file = RevocationsFile::start(&path, revoked.clone()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (revoked, file) = (&revoked, &file);
                scope.spawn(move || {
                    for n in 0..100 {
                        let user = format!("{thread}-{n}");
                        revoked.write().unwrap().revoke_user(&user, NOW);
                        file.change();
                        // The file is always complete.
                        assert!(read(&path_of(file), NOW).is_ok());
                    }
                });
            }
        });
        drop(file);
        let again = read(&path, NOW).unwrap();
        assert_eq!(again.users().count(), 400);
    }

    fn path_of(file: &RevocationsFile) -> PathBuf {
        file.shared.path.clone()
    }

    #[test]
    fn a_failed_write_is_retried() {
        let directory = tempfile::tempdir().unwrap();
        let away = directory.path().join("away");
        fs::create_dir(&away).unwrap();
        let path = away.join("revocations");
        let revoked = shared(Revoked::default());
        let file = RevocationsFile::start(&path, revoked.clone()).unwrap();
        fs::remove_dir_all(&away).unwrap();
        revoked.write().unwrap().revoke_user("7", NOW);
        file.change();
        let state = file.shared.lock();
        let failed = file
            .shared
            .changed
            .wait_while(state, |state| state.failed == 0);
        drop(failed);
        fs::create_dir(&away).unwrap();
        file.flush();
        assert!(file.failed() > 0);
        assert!(read(&path, NOW).unwrap().refuses(Some("7"), Some(NOW)));
    }

    #[test]
    fn an_invalid_file_is_reported_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revocations");
        let why = |text: &str| {
            fs::write(&path, text).unwrap();
            let why = read(&path, NOW).unwrap_err();
            assert!(why.starts_with(&path.display().to_string()), "{why}");
            why
        };
        for bad in ["", "askr revocations 2\n", "all 5\n"] {
            assert!(why(bad).contains("line 1: must be \"askr revocations 1\""));
        }
        let long = format!("5 {}", "x".repeat(129));
        for bad in [
            "",
            "all",
            "all x",
            "all -1",
            "5",
            "5 ",
            "x 7",
            "5 a\tb",
            "18446744073709551616 7",
            &long,
        ] {
            let text = format!("{HEAD}\n5 7\n{bad}\n5 8\n");
            assert!(why(&text).contains("line 3: must be"), "{bad}");
        }
        assert!(why(&format!("{HEAD}\n{}", "x".repeat(FILE.max as usize))).contains("at most"));
        fs::write(&path, format!("{HEAD}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        let mode = read(&path, NOW).unwrap_err();
        assert!(
            mode.contains("by its owner alone (its mode is 0620)"),
            "{mode}"
        );
        let directory_itself = read(directory.path(), NOW).unwrap_err();
        assert!(
            directory_itself.contains("must be a file"),
            "{directory_itself}"
        );
        let nowhere = directory.path().join("none/revocations");
        let why = RevocationsFile::start(&nowhere, shared(Revoked::default())).unwrap_err();
        assert!(why.contains("cannot be written"), "{why}");
    }

    #[test]
    fn a_time_in_the_future_counts_as_now() {
        let text = format!("{HEAD}\nall 9999999999\n9999999999 7\n{NOW} 8\n");
        let (revoked, ahead) = parse(&text, NOW).unwrap();
        let users: Vec<Option<&str>> = ahead.iter().map(|one| one.user.as_deref()).collect();
        assert_eq!(users, [None, Some("7")]);
        assert!(
            revoked.refuses(Some("7"), Some(NOW)) && !revoked.refuses(Some("7"), Some(NOW + 1))
        );
    }
}

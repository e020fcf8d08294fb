//! Who was on presence channels when askrd ended, for its next start: [`Before`], in a file beside the ring, and gone
//! after a reboot as the ring is.
//!
//! ```text
//! askr present 1          askr present 1
//! somebody                members 2
//!                         presence-room<TAB>ada
//!                         presence-room<TAB>bob
//! ```
//!
//! A planned stop leaves the list. While askrd serves, the file only says whether there are members, so that it is
//! written when the first one comes and when the last one has left; after a SIGKILL that is what is known. A file that
//! cannot be read or written costs the next start the wait for everybody's grace time, and nothing else.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use protocol::channel::Kind;
use protocol::pusher::channel_name;
use shared::rules;

use crate::hub::presence::Before;
use crate::process::own_file::{self, Others};

/// Of the file's name, after that of the ring.
pub const SUFFIX: &str = ".present";
const HEAD: &str = "askr present 1";
/// The most members in a list, and bytes of it. If there are more, it only says that there is somebody.
pub const MOST: usize = 1 << 16;
const MOST_BYTES: usize = 8 << 20;

/// The note of one application.
#[derive(Debug)]
pub struct Note {
    path: PathBuf,
    /// Whether it says that there is somebody. None: it cannot be written.
    somebody: Option<bool>,
}

impl Note {
    /// At `path`, which says so far what [`read`] returned.
    pub fn new(path: PathBuf, before: &Before) -> Self {
        let mut note = Self {
            path,
            somebody: Some(false),
        };
        // From now on the list is not what is known of a process that is killed.
        note.write(match before {
            Before::Nobody => &Before::Nobody,
            Before::Somebody | Before::These(_) => &Before::Somebody,
        });
        note
    }

    /// Notes whether there is somebody, if that has changed.
    pub fn set(&mut self, somebody: bool) {
        if self.somebody == Some(!somebody) {
            self.write(match somebody {
                true => &Before::Somebody,
                false => &Before::Nobody,
            });
        }
    }

    /// Notes who is there, at the end.
    pub fn leave(&mut self, members: &Before) {
        if self.somebody.is_some() {
            self.write(members);
        }
    }

    fn write(&mut self, what: &Before) {
        self.somebody = Some(*what != Before::Nobody);
        let text = text(what);
        let written = own_file::replace(&self.path, |mut file| file.write_all(text.as_bytes()));
        if let Err(why) = written {
            // No note is better than one that is not true.
            let _ = fs::remove_file(&self.path);
            self.somebody = None;
            let path = self.path.display();
            tracing::warn!("{path}: members of presence channels cannot be noted: {why}");
        }
    }
}

/// What the former process left at `path`. None: there is no such file.
///
/// # Errors
/// One line: the file, and why it cannot be used.
pub fn read(path: &Path) -> Result<Option<Before>, String> {
    let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    match read_text(path) {
        Ok(Some(text)) => parse(&text).map(Some).map_err(|why| at(&why)),
        Ok(None) => Ok(None),
        Err(why) => Err(at(&why)),
    }
}

/// # Errors
/// The line's number and what it must be.
pub fn parse(text: &str) -> Result<Before, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err(format!("line 1 must be \"{HEAD}\""));
    }
    let second = lines.next().unwrap_or_default();
    if second == "somebody" {
        return Ok(Before::Somebody);
    }
    let count = second.strip_prefix("members ");
    let count: usize = count
        .and_then(|count| count.parse().ok())
        .filter(|count| *count <= MOST)
        .ok_or_else(|| format!("line 2 must be \"somebody\" or \"members N\", at most {MOST}"))?;
    let mut members = Vec::new();
    for (line, number) in lines.zip(3..) {
        let member = line.split_once('\t').filter(|(channel, user)| {
            let channel =
                Kind::of(channel).is_presence() && rules::channel(channel.as_bytes()).is_ok();
            channel && channel_name::user(&channel_name::of_user(user)).is_some()
        });
        let (channel, user) =
            member.ok_or_else(|| format!("line {number} must be a presence channel and a user"))?;
        members.push((channel.to_owned(), user.to_owned()));
    }
    match (members.len(), count) {
        (found, count) if found != count => Err(format!("{found} members, and not {count}")),
        (0, _) => Ok(Before::Nobody),
        _ => Ok(Before::These(members)),
    }
}

fn text(what: &Before) -> String {
    let mut text = format!("{HEAD}\n");
    match what {
        Before::Nobody => text.push_str("members 0\n"),
        Before::Somebody => text.push_str("somebody\n"),
        Before::These(members) => {
            let bytes = |(channel, user): &(String, String)| channel.len() + user.len() + 2;
            if members.len() > MOST || members.iter().map(bytes).sum::<usize>() > MOST_BYTES {
                return self::text(&Before::Somebody);
            }
            let _ = writeln!(text, "members {}", members.len());
            for (channel, user) in members {
                let _ = writeln!(text, "{channel}\t{user}");
            }
        }
    }
    text
}

fn read_text(path: &Path) -> io::Result<Option<String>> {
    let most = MOST_BYTES + 100;
    let bytes = own_file::read(path, most as u64 + 1, Others::MustNotWrite, own_file::own)?;
    match bytes {
        Some(bytes) if bytes.len() > most => {
            Err(io::Error::other(format!("longer than {most} bytes")))
        }
        Some(bytes) => {
            let text = String::from_utf8(bytes);
            text.map(Some)
                .map_err(|_| io::ErrorKind::InvalidData.into())
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use proptest::prelude::*;

    use super::*;

    fn these(members: &[(&str, &str)]) -> Before {
        let own = |(channel, user): &(&str, &str)| ((*channel).to_owned(), (*user).to_owned());
        Before::These(members.iter().map(own).collect())
    }

    #[test]
    fn a_planned_stop_leaves_the_list_and_a_running_process_that_there_is_somebody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.present");
        assert_eq!(read(&path), Ok(None));
        let mut note = Note::new(path.clone(), &Before::Nobody);
        assert_eq!(read(&path), Ok(Some(Before::Nobody)));
        note.set(true);
        assert_eq!(read(&path), Ok(Some(Before::Somebody)));
        let members = these(&[("presence-a", "Ægir 7"), ("presence-a", "8")]);
        note.leave(&members);
        assert_eq!(read(&path), Ok(Some(members.clone())));
        let mut note = Note::new(path.clone(), &members);
        assert_eq!(
            read(&path),
            Ok(Some(Before::Somebody)),
            "until they are back"
        );
        note.set(false);
        assert_eq!(read(&path), Ok(Some(Before::Nobody)));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_list_that_is_too_long_says_that_there_is_somebody() {
        let member = |n: usize| ("presence-a".to_owned(), n.to_string());
        let list = |most: usize| Before::These((0..most).map(member).collect());
        assert_eq!(parse(&text(&list(MOST))), Ok(list(MOST)));
        assert_eq!(parse(&text(&list(MOST + 1))), Ok(Before::Somebody));
        let long = |n: usize| (format!("presence-{}{n}", "x".repeat(180)), "y".repeat(184));
        let long = Before::These((0..30_000).map(long).collect());
        assert_eq!(parse(&text(&long)), Ok(Before::Somebody));
    }

    #[test]
    fn what_somebody_else_may_have_made_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.present");
        fs::write(&path, text(&Before::Nobody)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
        assert!(read(&path).unwrap_err().contains("with mode 0622"));
        fs::remove_file(&path).unwrap();
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, text(&Before::Nobody)).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(read(&path).is_err());
        // The link is replaced, and what it led to is left alone.
        Note::new(path.clone(), &Before::Somebody);
        assert_eq!(read(&path), Ok(Some(Before::Somebody)));
        assert_eq!(read(&elsewhere), Ok(Some(Before::Nobody)));
        // Where it cannot be written, nothing false is left.
        fs::remove_file(&path).unwrap();
        fs::create_dir(directory.path().join("ring.present.new")).unwrap();
        fs::write(&path, text(&Before::Nobody)).unwrap();
        let mut note = Note::new(path.clone(), &Before::Somebody);
        note.set(false);
        assert_eq!(read(&path), Ok(None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(members in prop::collection::vec(("presence-[a-z é]{0,20}", "[a-z é]{1,20}"), 1..20)) {
            let members = Before::These(members);
            prop_assert_eq!(parse(&text(&members)), Ok(members));
        }

        #[test]
        fn what_is_read_could_be_a_member(text in "askr present 1\nmembers [0-3]\n((presence-[a-z\t]{0,3}|[a-z]{0,3})\t[a-z\0]{0,3}\n){0,3}") {
            if let Ok(Before::These(members)) = parse(&text) {
                for (channel, user) in members {
                    prop_assert!(channel.starts_with("presence-") && rules::channel(channel.as_bytes()).is_ok());
                    prop_assert!(shared::grant::user(user.as_bytes()).is_ok());
                }
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = parse(&text);
        }
    }
}

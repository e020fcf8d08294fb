//! `NAME.subscribers`, beside the ring: the active subscriptions of a Mercure hub, so that after a restart, and after a
//! SIGKILL too, they end for those who know of them. Gone after a reboot, as the ring is.
//!
//! ```text
//! askr subscribers 1
//! +{"subscriber":"urn:uuid:…","matchers":[["exact","https://…","{\"user_id\":\"7\"}"],["urlpattern","/…",null]]}
//! -urn:uuid:…
//! ```
//!
//! A line is appended in one write when a subscriber comes and when it has ended, which a killed process either made or did
//! not; an incomplete one is skipped. Now and then the file is written anew with those that are there. It need not
//! survive a power cut, and is not synced. Of more than it has room for nothing is noted.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use protocol::mercure::matcher::Kind;
use serde::{Deserialize, Serialize};

use crate::process::own_file::{self, Others};

/// Of the file's name, after that of the ring.
pub const SUFFIX: &str = ".subscribers";
const HEAD: &str = "askr subscribers 1\n";
/// Bytes of those that are there, and of lines beyond them after which the file is written anew.
const MOST: usize = 8 << 20;
const SLACK: usize = 4 << 20;
/// Bytes of the longest file: one more line than that.
const LONGEST: usize = MOST + SLACK + (1 << 20);

/// Bytes at the most while it is read.
pub const CEILING: u64 = 3 * LONGEST as u64;

/// A subscriber, as it is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    pub subscriber: String,
    /// Kinds by their names, texts, payloads.
    pub matchers: Vec<(String, String, Option<String>)>,
}

impl Noted {
    fn line(&self) -> Vec<u8> {
        let mut line = b"+".to_vec();
        // Strings: this cannot fail.
        line.extend(serde_json::to_vec(self).unwrap_or_default());
        line.push(b'\n');
        line
    }
}

/// Of these names, the kind.
pub fn kind(name: &str) -> Option<Kind> {
    [Kind::Exact, Kind::UrlPattern, Kind::Topic]
        .into_iter()
        .find(|kind| kind.name() == name)
}

#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// None: it cannot be written.
    file: Option<File>,
    /// Bytes of the file, and of the lines of those that are there.
    bytes: usize,
    there_bytes: usize,
    /// In the order in which they came, and where each is.
    lines: BTreeMap<u64, Box<[u8]>>,
    there: HashMap<Box<str>, u64>,
    number: u64,
}

impl Journal {
    /// Begins anew at `path`, with those who were there before.
    pub fn new(path: PathBuf, before: &[Noted]) -> Self {
        let mut journal = Self {
            path,
            file: None,
            bytes: 0,
            there_bytes: 0,
            lines: BTreeMap::new(),
            there: HashMap::new(),
            number: 0,
        };
        for noted in before {
            journal.put(noted);
        }
        journal.rewrite();
        journal
    }

    /// Its line, if there is room for it.
    fn put(&mut self, noted: &Noted) -> Option<&[u8]> {
        let line = noted.line();
        if self.there_bytes + line.len() > MOST {
            return None;
        }
        self.there_bytes += line.len();
        self.number += 1;
        self.there
            .insert(noted.subscriber.as_str().into(), self.number);
        Some(self.lines.entry(self.number).or_insert(line.into()))
    }

    /// It has come.
    pub fn enter(&mut self, noted: &Noted) {
        if self.file.is_some()
            && let Some(line) = self.put(noted).map(<[u8]>::to_vec)
        {
            self.append(&line);
        }
    }

    /// It has ended.
    pub fn end(&mut self, subscriber: &str) {
        let number = self.there.remove(subscriber);
        if let Some(line) = number.and_then(|number| self.lines.remove(&number)) {
            self.there_bytes -= line.len();
            self.append(format!("-{subscriber}\n").as_bytes());
        }
    }

    fn append(&mut self, line: &[u8]) {
        self.bytes += line.len();
        if self.bytes > self.there_bytes + SLACK {
            self.rewrite();
        } else if let Some(Err(why)) = self.file.as_mut().map(|file| file.write_all(line)) {
            self.give_up(&why);
        }
    }

    fn rewrite(&mut self) {
        let lines = self.lines.values().flat_map(|line| line.iter().copied());
        let text: Vec<u8> = HEAD.bytes().chain(lines).collect();
        self.bytes = text.len();
        let written = own_file::replace(&self.path, |mut file| {
            file.write_all(&text)?;
            Ok(file)
        });
        match written {
            Ok(file) => self.file = Some(file),
            Err(why) => self.give_up(&why),
        }
    }

    /// No note is better than one that is not true.
    fn give_up(&mut self, why: &io::Error) {
        let _ = fs::remove_file(&self.path);
        self.file = None;
        self.there = HashMap::new();
        self.lines = BTreeMap::new();
        self.there_bytes = 0;
        let path = self.path.display();
        tracing::warn!("{path}: active subscriptions cannot be noted: {why}");
    }
}

/// Those who were there when the former process ended, in the order in which they came.
///
/// # Errors
/// One line: the file, and why it is not believed.
pub fn read(path: &Path) -> Result<Vec<Noted>, String> {
    let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    match own_file::read(path, LONGEST as u64 + 1, Others::MustNotUse, own_file::own) {
        Ok(Some(bytes)) if bytes.len() > LONGEST => {
            Err(at(&format!("is longer than {LONGEST} bytes")))
        }
        Ok(Some(bytes)) => parse(&bytes).ok_or_else(|| at(&"is of another form")),
        Ok(None) => Ok(Vec::new()),
        Err(why) => Err(at(&why)),
    }
}

/// None: it does not begin as such a file.
pub fn parse(bytes: &[u8]) -> Option<Vec<Noted>> {
    let lines = bytes.strip_prefix(HEAD.as_bytes())?;
    let mut there = HashMap::new();
    let mut all = BTreeMap::new();
    for (number, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        match line.split_first() {
            Some((b'+', json)) => {
                let noted = serde_json::from_slice::<Noted>(json).ok();
                let fits =
                    |noted: &Noted| noted.matchers.iter().all(|(name, ..)| kind(name).is_some());
                if let Some(noted) = noted.filter(fits) {
                    if let Some(before) = there.insert(noted.subscriber.clone(), number) {
                        all.remove(&before);
                    }
                    all.insert(number, noted);
                }
            }
            Some((b'-', name)) => {
                let number = std::str::from_utf8(name)
                    .ok()
                    .and_then(|name| there.remove(name));
                number.and_then(|number| all.remove(&number));
            }
            _ => {}
        }
    }
    Some(all.into_values().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noted(name: &str, text: &str) -> Noted {
        Noted {
            subscriber: name.to_owned(),
            matchers: vec![
                (
                    "exact".to_owned(),
                    text.to_owned(),
                    Some("{\"a\":\"\\n\"}".to_owned()),
                ),
                ("urlpattern".to_owned(), "/:x".to_owned(), None),
            ],
        }
    }

    fn names(path: &Path) -> Vec<String> {
        let all = read(path).unwrap().into_iter();
        all.map(|one| one.subscriber).collect()
    }

    #[test]
    fn what_is_there_is_known_at_each_moment_and_to_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.subscribers");
        assert_eq!(read(&path), Ok(Vec::new()));
        let mut journal = Journal::new(path.clone(), &[]);
        journal.enter(&noted("a", "x\ny\u{2028}"));
        journal.enter(&noted("b", "y"));
        assert_eq!(names(&path), ["a", "b"]);
        journal.end("a");
        journal.end("a");
        journal.end("unknown");
        let before = read(&path).unwrap();
        assert_eq!(before, [noted("b", "y")]);
        let mut journal = Journal::new(path.clone(), &before);
        assert_eq!(names(&path), ["b"]);
        journal.end("b");
        assert_eq!((names(&path), journal.there_bytes), (vec![], 0));
        // An incomplete line.
        journal.enter(&noted("c", "x"));
        let text = fs::read(&path).unwrap();
        for cut in HEAD.len()..text.len() {
            assert!(parse(&text[..cut]).is_some_and(|all| all.len() <= 1));
        }
    }

    #[test]
    fn it_is_written_anew_before_it_is_long_and_has_no_more_than_there_is_room_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.subscribers");
        let mut journal = Journal::new(path.clone(), &[]);
        let long = "x".repeat(1 << 18);
        for n in 0..100 {
            journal.enter(&noted(&n.to_string(), &long));
            journal.end(&n.to_string());
            assert!(fs::metadata(&path).unwrap().len() <= SLACK as u64 + HEAD.len() as u64);
        }
        for n in 0..100 {
            journal.enter(&noted(&n.to_string(), &long));
        }
        let there = names(&path).len();
        assert!((28..32).contains(&there), "{there}");
        assert!(fs::metadata(&path).unwrap().len() <= LONGEST as u64);
        for n in 0..100 {
            journal.end(&n.to_string());
        }
        assert_eq!((names(&path), journal.there_bytes), (vec![], 0));
    }

    #[test]
    fn the_file_of_somebody_else_is_not_believed() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.subscribers");
        Journal::new(path.clone(), &[]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "something else").unwrap();
        assert!(read(&path).is_err());
    }

    proptest! {
        #[test]
        fn no_file_panics(lines in prop::collection::vec("[+-].{0,40}", 0..10)) {
            parse([HEAD, &lines.join("\n")].concat().as_bytes());
        }
    }
}

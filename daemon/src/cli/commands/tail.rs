//! `askrd tail`: prints the events of a live ring, one JSON object a line. Passive: it takes no lock, poisons
//! nothing, and follows the ring when it is replaced.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;
use shared::cursor::Cursor;
use shared::event::Event;
use shared::segment::Segment;
use shared::tail::{Step, Tail};
use shared::trust::Trusted;
use shared::vector::Vector;

use crate::cli::arguments::TailArgs;
use crate::config::Settings;
use crate::hub::erased::Erasure;
use crate::hub::erased_file;
use crate::process::terminal;

/// The longest wait for the next event.
const NAP: Duration = Duration::from_millis(250);
/// How often to check whether the name leads to another ring by now.
const CHECK: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Line<'a> {
    cursor: String,
    channels: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    topics: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    event: Option<&'a str>,
    id: Option<&'a str>,
    retry: Option<u32>,
    except: Option<&'a str>,
    published_ns: u64,
    data: &'a str,
}

/// What can no longer be had.
#[derive(Serialize)]
struct Lost {
    lost_at_most: u64,
    why: &'static str,
    /// The place of the last of it in the ring of the host that published it, if that was another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to: Option<String>,
}

impl Lost {
    fn here(positions: u64, why: &'static str) -> Self {
        Self {
            lost_at_most: positions,
            why,
            up_to: None,
        }
    }

    /// What a gap record says, whoever wrote it, is lost; None for an event.
    fn elsewhere(record: &Event) -> Option<Self> {
        let (from, to) = (record.gap()?, record.imported()?);
        Some(Self {
            lost_at_most: to.seq.saturating_sub(from),
            why: "no longer to be had from another host",
            up_to: Some(to.to_string()),
        })
    }
}

/// Prints lines, and counts how many events remain to be printed.
struct Printer {
    left: u64,
    /// Only events of this channel.
    channel: Option<String>,
    /// Events of topics, too.
    topics: bool,
}

/// What was erased of channels, of events that stay in the ring for others.
#[derive(Default)]
struct Hidden {
    channels: HashMap<Box<str>, Vec<Erasure>>,
    /// The file that says so, as it was when it was read.
    file: Option<(u64, i64, i64)>,
}

impl Hidden {
    /// Reads the file again if it is another one by now.
    fn refresh(&mut self, path: &Path, trusted: impl Fn(u32) -> bool) -> Result<(), String> {
        let meta = std::fs::symlink_metadata(path).ok();
        let file = meta.map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()));
        if file != self.file {
            self.channels.clear();
            for erasure in erased_file::read(path, trusted)? {
                let of_channel = self.channels.entry(erasure.channel.clone());
                of_channel.or_default().push(erasure);
            }
            self.file = file;
        }
        Ok(())
    }

    /// `origin`: where the event was published first.
    fn hides(&self, channel: &str, event: Cursor, origin: Cursor) -> bool {
        let hides = |erasure: &Erasure| {
            let has = |vector: &Vector| vector.get(origin.epoch.into()) >= Some(origin.seq);
            erasure.at.epoch == event.epoch
                && event.seq <= erasure.at.seq
                && erasure.vector.as_ref().is_none_or(has)
        };
        let erasures = self.channels.get(channel);
        erasures.is_some_and(|erasures| erasures.iter().any(hides))
    }
}

/// Prints events until the count is reached or the reader closes the pipe.
///
/// # Errors
/// A sentence, if there is no ring, or what was erased cannot be read.
pub fn tail(settings: &Settings, arguments: &TailArgs) -> Result<ExitCode, String> {
    let name = settings.ring.name();
    let trusted = Trusted {
        owner: settings.ring.owner(),
        group: None,
    };
    let open = || Segment::open(name.path(), |meta| trusted.owner(meta.uid()));
    let missing = |why| format!("the ring {name} ({}) {why}", name.path().display());
    let mut segment = open().map_err(missing)?;
    let from = if arguments.history {
        segment.oldest()
    } else {
        segment.head()
    };
    let mut tail = Tail::new(from, false);
    let mut check_at = Instant::now() + CHECK;
    let mut printer = Printer {
        left: arguments.count.unwrap_or(u64::MAX),
        channel: arguments.channel.clone(),
        topics: arguments.topics,
    };
    let erased = name.beside(erased_file::SUFFIX);
    let mut hidden = Hidden::default();
    while printer.left > 0 {
        let printed = match tail.step(segment.ring()) {
            Step::Event { seq, event } => {
                hidden.refresh(&erased, |uid| trusted.owner(uid))?;
                let epoch = segment.epoch();
                match Lost::elsewhere(&event) {
                    Some(lost) => print(&lost),
                    None => printer.event(Cursor { epoch, seq }, &event, &hidden),
                }
            }
            Step::Lapped { from, to } => print(&Lost::here(to - from, "overwritten")),
            Step::Unreadable { .. } | Step::Skipped { .. } => print(&Lost::here(1, "unreadable")),
            Step::Empty | Step::End | Step::Distrust(_) => {
                if Instant::now() >= check_at {
                    check_at = Instant::now() + CHECK;
                    if let Ok(newer) = open()
                        && newer.inode() != segment.inode()
                    {
                        (tail, segment) = (Tail::new(newer.oldest(), false), newer);
                    }
                }
                tail.wait(segment.ring(), NAP);
                Ok(())
            }
        };
        // The reader closed the pipe, which is a normal end.
        if printed.is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Printer {
    fn event(&mut self, cursor: Cursor, event: &Event, hidden: &Hidden) -> io::Result<()> {
        let origin = event.imported().unwrap_or(cursor);
        let left = |name: &&str| !hidden.hides(name, cursor, origin);
        let channels = event.channels().filter(left);
        let channels: Vec<&str> = channels.collect();
        let wanted = match self.channel.as_deref() {
            Some(wanted) => channels.contains(&wanted),
            None if event.is_of_topics() => self.topics,
            None => !channels.is_empty(),
        };
        if !wanted {
            return Ok(());
        }
        self.left -= 1;
        print(&Line {
            cursor: cursor.to_string(),
            channels,
            topics: event.topics().collect(),
            private: event.is_private(),
            event: event.event(),
            id: event.id(),
            retry: event.retry(),
            except: event.except(),
            published_ns: event.published_ns(),
            data: event.data_str(),
        })
    }
}

fn print(line: &impl Serialize) -> io::Result<()> {
    terminal::print(&(serde_json::to_string(line)? + "\n"))
}

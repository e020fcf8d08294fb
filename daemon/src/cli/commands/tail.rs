//! `askrd tail`: prints the events of a live ring, one JSON object a line. Passive: it takes no lock, poisons
//! nothing, and follows the ring when it is replaced.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;
use shared::cursor::Cursor;
use shared::event::Event;
use shared::publisher::TrustedOwners;
use shared::segment::Segment;
use shared::tail::{Step, Tail};

use crate::cli::arguments::TailArgs;
use crate::config::Settings;
use crate::hub::erased_file;

/// The longest wait for the next event.
const NAP: Duration = Duration::from_millis(250);
/// How often to check whether the name leads to another ring by now.
const CHECK: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Line<'a> {
    cursor: String,
    channels: Vec<&'a str>,
    event: Option<&'a str>,
    id: Option<&'a str>,
    retry: Option<u32>,
    except: Option<&'a str>,
    published_ns: u64,
    data: &'a str,
}

/// Prints lines, and counts how many events remain to be printed.
struct Printer {
    left: u64,
    /// Only events of this channel.
    channel: Option<String>,
}

/// What was erased of channels, of events that stay in the ring for others.
#[derive(Default)]
struct Hidden {
    channels: HashMap<Box<str>, Cursor>,
    /// The file that says so, as it was when it was read.
    file: Option<(u64, i64, i64)>,
}

impl Hidden {
    /// Reads the file again if it is another one by now.
    fn refresh(&mut self, path: &Path, trusted: impl Fn(u32) -> bool) -> Result<(), String> {
        let meta = std::fs::symlink_metadata(path).ok();
        let file = meta.map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()));
        if file != self.file {
            self.channels = erased_file::read(path, trusted)?.into_iter().collect();
            self.file = file;
        }
        Ok(())
    }

    fn hides(&self, channel: &str, event: Cursor) -> bool {
        let up_to = self.channels.get(channel);
        up_to.is_some_and(|up_to| up_to.epoch == event.epoch && event.seq <= up_to.seq)
    }
}

/// Prints events until the count is reached or the reader closes the pipe.
///
/// # Errors
/// A sentence, if there is no ring, or what was erased cannot be read.
pub fn tail(settings: &Settings, arguments: &TailArgs) -> Result<ExitCode, String> {
    let name = settings.ring.name();
    let trusted = TrustedOwners {
        extra: settings.ring.owner(),
    };
    let open = || Segment::open(name.path(), |uid| trusted.contains(uid));
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
    };
    let erased = name.beside(erased_file::SUFFIX);
    let mut hidden = Hidden::default();
    while printer.left > 0 {
        let printed = match tail.step(segment.ring()) {
            Step::Event { seq, event } => {
                hidden.refresh(&erased, |uid| trusted.contains(uid))?;
                let epoch = segment.epoch();
                printer.event(Cursor { epoch, seq }, &event, &hidden)
            }
            Step::Lapped { from, to } => printer.lost(to - from, "overwritten"),
            Step::Unreadable { .. } | Step::Skipped { .. } => printer.lost(1, "unreadable"),
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
        let channels = event.channels().filter(|name| !hidden.hides(name, cursor));
        let channels: Vec<&str> = channels.collect();
        let wanted = match self.channel.as_deref() {
            Some(wanted) => channels.contains(&wanted),
            // An event of topics has none.
            None => !channels.is_empty() || event.channels().next().is_none(),
        };
        if !wanted {
            return Ok(());
        }
        self.left -= 1;
        print(&Line {
            cursor: cursor.to_string(),
            channels,
            event: event.event(),
            id: event.id(),
            retry: event.retry(),
            except: event.except(),
            published_ns: event.published_ns(),
            data: event.data_str(),
        })
    }

    fn lost(&mut self, positions: u64, why: &str) -> io::Result<()> {
        print(&serde_json::json!({ "lost_at_most": positions, "why": why }))
    }
}

fn print(line: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}

//! `askrd tail`: watches a live ring, one JSON object a line. Passive: it takes no lock, poisons
//! nothing, and follows the ring when it is replaced.

use std::io::{self, Write};
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

const NAP: Duration = Duration::from_millis(250);
/// How often to look whether the name leads to another ring by now.
const LOOK: Duration = Duration::from_secs(1);

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

/// Where lines go, and how many still may.
struct Printer {
    left: u64,
    channel: Option<String>,
}

/// # Errors
/// A sentence, if there is no ring to watch.
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
    let mut look = Instant::now() + LOOK;
    let mut printer = Printer {
        left: arguments.count.unwrap_or(u64::MAX),
        channel: arguments.channel.clone(),
    };
    while printer.left > 0 {
        let printed = match tail.step(segment.ring()) {
            Step::Event { seq, event } => printer.event(&segment, seq, &event),
            Step::Lapped { from, to } => printer.lost(to - from, "overwritten"),
            Step::Unreadable { .. } | Step::Skipped { .. } => printer.lost(1, "unreadable"),
            Step::Empty | Step::End | Step::Distrust(_) => {
                if Instant::now() >= look {
                    look = Instant::now() + LOOK;
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
        // Whoever read our lines is gone: that is an end like any other.
        if printed.is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Printer {
    fn event(&mut self, segment: &Segment, seq: u64, event: &Event) -> io::Result<()> {
        if self
            .channel
            .as_deref()
            .is_some_and(|wanted| event.channels().all(|name| name != wanted))
        {
            return Ok(());
        }
        self.left -= 1;
        print(&Line {
            cursor: Cursor {
                epoch: segment.epoch(),
                seq,
            }
            .to_string(),
            channels: event.channels().collect(),
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

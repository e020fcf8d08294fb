//! What happened to the events of one channel: from the publish, by the tailer, to each worker's writes, and who was passed
//! over and why. For one channel at a time, and only while somebody asks; it ends by itself. Otherwise an event costs one
//! load in the tailer, and nothing in a worker.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::socket_id::SocketId;
use serde::{Deserialize, Serialize};
use shared::cursor::Cursor;
use shared::segment::now_ns;

/// How long it goes on after somebody has asked last.
const LASTS: Duration = Duration::from_secs(10);
/// Records that are kept; the oldest give way.
const RECORDS: usize = 1000;
/// Bytes that all records come to at the most: each with the streams that it names.
pub const CEILING: u64 = RECORDS as u64 * (256 + NAMED as u64 * 64);
/// Streams that one record names.
pub const NAMED: usize = 20;

#[derive(Debug, Default)]
pub struct Trace {
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    channel: String,
    until: Option<Instant>,
    records: VecDeque<Record>,
    /// The number of the next one.
    next: u64,
}

/// What happened, in the order in which it was noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub number: u64,
    /// Nanoseconds since 1970.
    pub at: u64,
    /// The event's place; none for what is about no event.
    pub cursor: Option<String>,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The tailer read it from the ring.
    Read {
        /// When it was published, by the publisher's clock.
        published: u64,
        bytes: usize,
        channels: usize,
        /// Workers that have a subscriber of any of its channels.
        workers: Vec<u32>,
    },
    /// A worker has it in hand: streams of the channel that get it, and those that do not.
    Sent {
        worker: usize,
        streams: usize,
        passed_over: usize,
        /// Some of those that do not.
        some: Vec<PassedOver>,
    },
    /// The worker's writes are done. `waiting`: streams of the channel whose socket is full.
    Written { worker: usize, waiting: usize },
    /// Somebody may not listen to the channel.
    Refused { why: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    pub socket: String,
    pub why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The publisher left it out.
    Except,
    /// It replays, because it was slow or came back: it gets the event from the ring at its own pace.
    Replays,
    /// It subscribed later, or had it from a replay.
    HasIt,
    /// The channel's events were erased.
    Erased,
}

impl PassedOver {
    pub fn new(socket: SocketId, why: Why) -> Self {
        let socket = socket.to_string();
        Self { socket, why }
    }
}

/// What there is after a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    pub records: Vec<Record>,
    /// The number to ask with next.
    pub next: u64,
    /// Records that were lost since, because there were too many.
    pub lost: u64,
}

impl Trace {
    /// Somebody asks what happened on `channel` since record `after`, or since somebody asked first; from now on, for a while, it is noted. Another
    /// channel that was traced no longer is.
    pub fn ask(&self, channel: &str, after: Option<u64>) -> Traced {
        let mut state = self.state.lock();
        if state.channel != channel {
            channel.clone_into(&mut state.channel);
            state.records.clear();
        }
        state.until = Some(Instant::now() + LASTS);
        self.on.store(true, Relaxed);
        let first = state.records.front().map_or(state.next, |r| r.number);
        let after = after.unwrap_or(first).min(state.next);
        let records = state.records.iter().filter(|r| r.number >= after);
        Traced {
            records: records.cloned().collect(),
            next: state.next,
            lost: first.saturating_sub(after),
        }
    }

    /// Whether anything is noted.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Whether an event of these channels is traced. Only if it [is on](Self::is_on).
    #[cold]
    pub fn concerns<'a>(&self, mut channels: impl Iterator<Item = &'a str>) -> bool {
        let mut state = self.state.lock();
        if state.until.is_none_or(|until| until < Instant::now()) {
            self.on.store(false, Relaxed);
            *state = State {
                next: state.next,
                ..State::default()
            };
            return false;
        }
        channels.any(|channel| channel == state.channel)
    }

    /// The channel that is traced.
    #[cold]
    pub fn channel(&self) -> String {
        self.state.lock().channel.clone()
    }

    #[cold]
    pub fn note(&self, cursor: Option<Cursor>, what: What) {
        let mut state = self.state.lock();
        if state.records.len() == RECORDS {
            state.records.pop_front();
        }
        let record = Record {
            number: state.next,
            at: now_ns(),
            cursor: cursor.map(|cursor| cursor.to_string()),
            what,
        };
        state.next += 1;
        state.records.push_back(record);
    }

    /// Somebody may not listen to one of these channels.
    #[inline]
    pub fn refused<'a>(&self, channels: impl Iterator<Item = &'a str>, why: &str) {
        if self.is_on() && self.concerns(channels) {
            let why = why.chars().take(200).collect();
            self.note(None, What::Refused { why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(trace: &Trace) {
        let what = What::Written {
            worker: 0,
            waiting: 0,
        };
        trace.note(None, what);
    }

    #[test]
    fn what_happens_after_the_first_question_is_given_once_and_in_order() {
        let trace = Trace::default();
        assert!(!trace.is_on());
        trace.refused(std::iter::once("a"), "nobody asks");
        let first = trace.ask("a", None);
        assert_eq!((first.records.len(), first.next), (0, 0));
        assert!(trace.is_on() && trace.concerns(["b", "a"].into_iter()));
        assert!(!trace.concerns(std::iter::once("b")));
        trace.refused(["b", "a"].into_iter(), "no right");
        trace.refused(std::iter::once("b"), "no right");
        note(&trace);
        let second = trace.ask("a", Some(first.next));
        assert_eq!(second.records.len(), 2);
        let why = "no right".to_owned();
        assert_eq!(second.records[0].what, What::Refused { why });
        assert_eq!((second.next, second.lost), (2, 0));
        assert_eq!(trace.ask("a", Some(second.next)).records, []);
        note(&trace);
        assert_eq!(trace.ask("b", Some(0)).records, [], "another channel");
    }

    #[test]
    fn records_are_bounded_and_what_is_lost_is_counted() {
        let trace = Trace::default();
        trace.ask("a", None);
        (0..RECORDS + 7).for_each(|_| note(&trace));
        let traced = trace.ask("a", Some(0));
        assert_eq!((traced.records.len(), traced.lost), (RECORDS, 7));
        assert_eq!(trace.ask("a", Some(u64::MAX)).records, []);
    }

    #[test]
    fn it_ends_by_itself() {
        let trace = Trace::default();
        trace.ask("a", None);
        note(&trace);
        trace.state.lock().until = Some(Instant::now() - Duration::from_secs(1));
        assert!(!trace.concerns(std::iter::once("a")) && !trace.is_on());
        assert_eq!(trace.state.lock().records.len(), 0);
    }
}

//! What happened to the events of a channel: from the publish, by the tailer, to each worker's writes, and who was passed
//! over and why. For a few channels at a time, and only while somebody asks; each trace ends by itself. Otherwise an event
//! costs one load in the tailer, and nothing in a worker.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::socket_id::SocketId;
use serde::{Deserialize, Serialize};
use shared::cursor::Cursor;
use shared::segment::now_ns;

/// Channels that are traced at one time.
pub const CHANNELS: usize = 4;
/// How long a trace goes on after somebody has asked last.
const LASTS: Duration = Duration::from_secs(10);
/// Records that are kept of each channel; the oldest give way.
const RECORDS: usize = 1000;
/// Bytes that the records of a channel come to at the most, each with the streams that it names; and those of all channels.
pub const EACH: u64 = RECORDS as u64 * (256 + NAMED as u64 * 64);
pub const CEILING: u64 = CHANNELS as u64 * EACH;
/// Streams that one record names.
pub const NAMED: usize = 20;

#[derive(Debug, Default)]
pub struct Traces {
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// At most [`CHANNELS`], each of another channel.
    traces: Vec<Trace>,
    /// The first number of the next trace: behind all that others have had, so that who asks with a number of an earlier
    /// trace is told that it had ended.
    begins: u64,
}

#[derive(Debug)]
struct Trace {
    channel: Arc<str>,
    until: Instant,
    began: u64,
    records: VecDeque<Record>,
    /// The number of the next record.
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
    /// The trace had ended since, and what happened before it began again was not noted.
    #[serde(default)]
    pub interrupted: bool,
}

/// Other channels have all places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPlace {
    channels: Vec<Arc<str>>,
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CHANNELS} channels are being traced already: ")?;
        for (n, channel) in self.channels.iter().enumerate() {
            write!(f, "{}{channel:?}", if n == 0 { "" } else { ", " })?;
        }
        let seconds = LASTS.as_secs();
        write!(
            f,
            "; a place is free {seconds} seconds after whoever has it asked last"
        )
    }
}

impl State {
    /// Traces that nobody asks about any more end.
    fn end_due(&mut self, now: Instant) {
        let begins = &mut self.begins;
        self.traces.retain(|trace| {
            let goes_on = now <= trace.until;
            if !goes_on {
                *begins = (*begins).max(trace.next + 1);
            }
            goes_on
        });
    }

    /// The trace of this channel, which begins if there is none.
    fn of(&mut self, channel: &str, now: Instant) -> Result<&mut Trace, NoPlace> {
        let place = self.traces.iter().position(|one| &*one.channel == channel);
        let place = match place {
            Some(place) => place,
            None if self.traces.len() == CHANNELS => {
                let channels = self.traces.iter().map(|trace| trace.channel.clone());
                return Err(NoPlace {
                    channels: channels.collect(),
                });
            }
            None => {
                self.traces.push(Trace {
                    channel: channel.into(),
                    until: now,
                    began: self.begins,
                    records: VecDeque::new(),
                    next: self.begins,
                });
                self.traces.len() - 1
            }
        };
        Ok(&mut self.traces[place])
    }
}

impl Trace {
    fn after(&self, after: Option<u64>) -> Traced {
        let first = self.records.front().map_or(self.next, |r| r.number);
        let is_of_this = |after: u64| (self.began..=self.next).contains(&after);
        let from = match after {
            Some(after) if is_of_this(after) => after,
            Some(_) => self.began,
            // Whoever begins now lacks nothing of what was before.
            None => first,
        };
        let records = self.records.iter().filter(|r| r.number >= from);
        Traced {
            records: records.cloned().collect(),
            next: self.next,
            lost: first.saturating_sub(from),
            interrupted: after.is_some_and(|after| !is_of_this(after)),
        }
    }
}

impl Traces {
    /// Somebody asks what happened on `channel` since record `after`, or all that is held; from now on, for a while, it is
    /// noted.
    ///
    /// # Errors
    /// If as many other channels are traced as can be.
    pub fn ask(&self, channel: &str, after: Option<u64>) -> Result<Traced, NoPlace> {
        self.ask_at(channel, after, Instant::now())
    }

    fn ask_at(&self, channel: &str, after: Option<u64>, now: Instant) -> Result<Traced, NoPlace> {
        let mut state = self.state.lock();
        state.end_due(now);
        let trace = state.of(channel, now)?;
        trace.until = now + LASTS;
        let traced = trace.after(after);
        self.on.store(true, Relaxed);
        Ok(traced)
    }

    /// Whether anything is noted.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Those of the channels that are traced. Only if any [is](Self::is_on).
    #[cold]
    pub fn among<'a>(&self, channels: impl Iterator<Item = &'a str>) -> Box<[Arc<str>]> {
        self.among_at(channels, Instant::now())
    }

    fn among_at<'a>(
        &self,
        channels: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> Box<[Arc<str>]> {
        let mut state = self.state.lock();
        state.end_due(now);
        self.on.store(!state.traces.is_empty(), Relaxed);
        let mut among: Vec<Arc<str>> = Vec::new();
        for channel in channels {
            let mut traces = state.traces.iter();
            if let Some(trace) = traces.find(|trace| &*trace.channel == channel)
                && !among.contains(&trace.channel)
            {
                among.push(trace.channel.clone());
            }
        }
        among.into()
    }

    /// Something happened on a channel that is traced. If it is no longer, nothing is noted.
    #[cold]
    pub fn note(&self, channel: &str, cursor: Option<Cursor>, what: What) {
        let mut state = self.state.lock();
        let mut traces = state.traces.iter_mut();
        let Some(trace) = traces.find(|trace| &*trace.channel == channel) else {
            return;
        };
        if trace.records.len() == RECORDS {
            trace.records.pop_front();
        }
        trace.records.push_back(Record {
            number: trace.next,
            at: now_ns(),
            cursor: cursor.map(|cursor| cursor.to_string()),
            what,
        });
        trace.next += 1;
    }

    /// Somebody may not listen to these channels.
    #[inline]
    pub fn refused<'a>(&self, channels: impl Iterator<Item = &'a str>, why: &str) {
        if self.is_on() {
            for channel in self.among(channels) {
                let why = why.chars().take(200).collect();
                self.note(&channel, None, What::Refused { why });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(traces: &Traces, channel: &str) {
        let what = What::Written {
            worker: 0,
            waiting: 0,
        };
        traces.note(channel, None, what);
    }

    fn among(traces: &Traces, channels: &[&str]) -> Vec<String> {
        let among = traces.among(channels.iter().copied());
        among.iter().map(|channel| channel.to_string()).collect()
    }

    #[test]
    fn what_happens_after_the_first_question_is_given_once_and_in_order() {
        let traces = Traces::default();
        assert!(!traces.is_on());
        traces.refused(["a"].into_iter(), "nobody asks");
        let first = traces.ask("a", None).unwrap();
        assert_eq!((first.records.len(), first.next), (0, 0));
        assert!(traces.is_on());
        assert_eq!(among(&traces, &["b", "a", "a"]), ["a"]);
        assert_eq!(among(&traces, &["b"]), [""; 0]);
        traces.refused(["b", "a"].into_iter(), "no right");
        traces.refused(["b"].into_iter(), "no right");
        note(&traces, "a");
        note(&traces, "b");
        let second = traces.ask("a", Some(first.next)).unwrap();
        assert_eq!(second.records.len(), 2);
        let why = "no right".to_owned();
        assert_eq!(second.records[0].what, What::Refused { why });
        assert_eq!((second.next, second.lost), (2, 0));
        assert_eq!(traces.ask("a", Some(2)).unwrap().records, []);
    }

    #[test]
    fn each_channel_has_its_own_records_and_no_other_makes_them_fewer() {
        let traces = Traces::default();
        traces.ask("a", None).unwrap();
        traces.ask("b", None).unwrap();
        assert_eq!(among(&traces, &["b", "c", "a"]), ["b", "a"]);
        note(&traces, "a");
        (0..RECORDS + 7).for_each(|_| note(&traces, "b"));
        let (a, b) = (traces.ask("a", Some(0)), traces.ask("b", Some(0)));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.records.len(), a.lost, a.interrupted), (1, 0, false));
        assert_eq!(
            (b.records.len(), b.lost, b.interrupted),
            (RECORDS, 7, false)
        );
    }

    #[test]
    fn who_begins_later_has_lost_nothing() {
        let traces = Traces::default();
        traces.ask("a", None).unwrap();
        (0..RECORDS + 7).for_each(|_| note(&traces, "a"));
        let later = traces.ask("a", None).unwrap();
        assert_eq!((later.records.len(), later.lost), (RECORDS, 0));
    }

    #[test]
    fn one_channel_too_many_is_refused_and_has_the_place_of_one_that_has_ended() {
        let traces = Traces::default();
        let begin = Instant::now();
        for channel in ["a", "b", "c", "d"] {
            traces.ask_at(channel, None, begin).unwrap();
        }
        let refused = traces.ask_at("e", None, begin).unwrap_err().to_string();
        let said = r#"4 channels are being traced already: "a", "b", "c", "d"; "#;
        assert!(refused.starts_with(said), "{refused}");
        assert!(traces.ask_at("a", None, begin + LASTS).is_ok());
        assert!(traces.ask_at("e", None, begin + LASTS).is_err());
        let later = begin + LASTS + Duration::from_millis(1);
        assert!(traces.ask_at("e", None, later).is_ok());
        let traced = traces.among_at(["a", "b", "e"].into_iter(), later);
        let traced: Vec<&str> = traced.iter().map(|channel| &**channel).collect();
        assert_eq!(traced, ["a", "e"], "and whoever asks goes on");
    }

    #[test]
    fn a_trace_ends_by_itself_and_who_asks_again_is_told_so() {
        let traces = Traces::default();
        let begin = Instant::now();
        let first = traces.ask_at("a", None, begin).unwrap();
        note(&traces, "a");
        let later = begin + 2 * LASTS;
        assert!(traces.among_at(["a"].into_iter(), later).is_empty());
        assert!(!traces.is_on() && traces.state.lock().traces.is_empty());
        note(&traces, "a");
        for after in [first.next, first.next + 1, u64::MAX] {
            let again = traces.ask_at("a", Some(after), later).unwrap();
            assert_eq!((again.records.len(), again.lost), (0, 0));
            assert!(again.interrupted, "{after}");
            note(&traces, "a");
            let next = traces.ask_at("a", Some(again.next), later).unwrap();
            assert_eq!((next.records.len(), next.interrupted), (1, false));
            traces.among_at(["a"].into_iter(), later + 2 * LASTS);
        }
    }
}

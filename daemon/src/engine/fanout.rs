//! What one wake has for each stream. Events that arrived together are sent together: frames are collected first, by
//! reference, and then each stream gets one write.
//!
//! A stream's frames are a chain of runs of neighbouring frames; for a subscriber of one busy channel
//! that is one run, whatever the number of events. Streams with the same chain share one buffer.
//!
//! How much is gathered is bounded: once it `is_full`, it is to be flushed before more is added. If an event is larger
//! than that in the forms of all its channels, the rest is left to replay, a chunk at a time (`aside`).

use std::collections::HashMap;
use std::sync::Arc;

use protocol::ephemeral::Ephemeral;
use protocol::format::{FORMATS, Format};
use shared::cursor::Cursor;
use slab::Slab;

use crate::engine::outbox::{Frame, FrameKind, ReplayPosition};
use crate::engine::progress::Progress;
use crate::engine::stream::{NONE, Stream};
use crate::engine::subscribers::Subscribers;
use crate::engine::subscriptions::Subscriptions;
use crate::hub::encoded_event::EncodedEvent;
use crate::hub::ephemeral::EncodedEphemeral;
use crate::hub::erased::Erased;
use crate::hub::notice::Notice;
use crate::process::budget::{Budget, Held};

#[derive(Debug, Default)]
pub struct Fanout {
    frames: Vec<Frame>,
    /// Streams with something to write, in the order they were first met.
    pub dirty: Vec<u32>,
    /// Frames gathered, over all streams.
    pub count: u64,
    /// Streams that get no more in this wake, and from where they replay.
    pub aside: Vec<(u32, ReplayPosition)>,
    /// Bytes of all frames.
    bytes: usize,
    /// The chains of all streams.
    links: Vec<Link>,
    /// Streams and the channels by which they get the event at hand, if it has several.
    hits: Vec<(u32, usize)>,
    /// The chain taken last.
    runs: Vec<Run>,
    joined: Vec<Joined>,
    /// How many of `joined` are in use; the others keep their memory for later.
    used: usize,
}

/// Joined chains that are sent together, and their bytes; one more may be of any size.
const MAX_BATCHES: usize = 32;
const MAX_JOINED: usize = 4 << 20;
/// Bytes of frames, and links, after which no further event is added.
const MAX_GATHERED: usize = 1 << 20;
const MAX_LINKS: usize = 1 << 18;
/// Bytes of frames after which no further form of the same event is added: only a large event in several formats,
/// or on several channels, gets there.
const MAX_EVENT: usize = 8 << 20;

/// Bytes that one wake of a worker takes at most, where the largest frame has `largest`: its frames, and the same
/// again joined.
pub const fn ceiling(largest: u64) -> u64 {
    let frames = (MAX_GATHERED + MAX_EVENT) as u64 + largest;
    2 * frames + MAX_JOINED as u64
}

/// Bytes of room of each kind that are kept for the next wake, and of all four.
const KEPT: usize = 1 << 20;
pub const KEPT_IN_ALL: usize = 4 * KEPT;

/// Neighbouring frames: the first, and the one after the last.
type Run = (u32, u32);

#[derive(Debug, Clone, Copy)]
struct Link {
    start: u32,
    end: u32,
    next: u32,
}

/// A chain of several frames as one buffer, which every stream with that chain shares.
#[derive(Debug, Default)]
struct Joined {
    runs: Vec<Run>,
    bytes: Vec<u8>,
}

/// What one stream is written in this wake: one frame, or a joined chain.
#[derive(Debug, Clone, Copy)]
pub enum WriteBatch {
    Frame(u32),
    Joined(u32),
}

impl Fanout {
    /// An event, for the live streams of its channels, but for those that it was erased for.
    pub fn event(
        &mut self,
        encoded: &EncodedEvent,
        streams: &mut Slab<Stream>,
        subscriptions: &Subscriptions,
        subscribers: &Subscribers,
        erased: &Erased,
    ) {
        if encoded.event.is_of_topics() {
            return self.update(encoded, streams, subscriptions, subscribers);
        }
        let several = encoded.event.channels().nth(1).is_some();
        let mut places = [NONE; FORMATS];
        let at = ReplayPosition::start(encoded.seq());
        for (index, name) in encoded.event.channels().enumerate() {
            // Since it was published; the tailer may have been far behind.
            if erased.hides(name, encoded.seq()) {
                continue;
            }
            for member in subscriptions.members(name) {
                let stream = &mut streams[member.slot as usize];
                if !stream.takes(encoded.seq()) || encoded.except == Some(stream.socket) {
                    continue;
                }
                let place = &mut places[stream.format as usize];
                match stream.format {
                    Format::Raw => {
                        if *place == NONE && self.bytes >= MAX_EVENT {
                            self.aside.push((member.slot, at));
                            continue;
                        }
                        let frame = self.frame(place, at, || encoded.raw());
                        // It has it already, by another of its channels.
                        if !(several && self.ends_with(stream, frame)) {
                            self.link(stream, member.slot, frame);
                        }
                    }
                    _ if several => self.hits.push((member.slot, index)),
                    format => {
                        if *place == NONE && self.bytes >= MAX_EVENT {
                            self.aside.push((member.slot, at));
                            continue;
                        }
                        let form = || encoded.form(format, 0, true);
                        let frame = self.frame(place, at, form);
                        self.link(stream, member.slot, frame);
                    }
                }
            }
        }
        if !self.hits.is_empty() {
            self.of_several(encoded, streams);
        }
    }

    /// An event of topics, for the live streams with a matcher of one of them that may have it: once each.
    fn update(
        &mut self,
        encoded: &EncodedEvent,
        streams: &mut Slab<Stream>,
        subscriptions: &Subscriptions,
        subscribers: &Subscribers,
    ) {
        let mut place = NONE;
        let at = ReplayPosition::start(encoded.seq());
        let is_private = encoded.event.is_private();
        for member in encoded.names().flat_map(|name| subscriptions.members(name)) {
            let stream = &mut streams[member.slot as usize];
            if !stream.takes(encoded.seq()) || encoded.except == Some(stream.socket) {
                continue;
            }
            if is_private && !subscribers.may_have(member.slot, &encoded.event, encoded.cursor) {
                continue;
            }
            if place == NONE && self.bytes >= MAX_EVENT {
                self.aside.push((member.slot, at));
                continue;
            }
            let frame = self.frame(&mut place, at, || encoded.update());
            // It has it already, by another of its matchers.
            if !self.ends_with(stream, frame) {
                self.link(stream, member.slot, frame);
            }
        }
    }

    /// What the hub says itself, for the live streams that may have it, with the cursor of where each is.
    pub fn notice(
        &mut self,
        notice: &Notice,
        streams: &mut Slab<Stream>,
        subscriptions: &Subscriptions,
        subscribers: &Subscribers,
        progress: &Progress,
        frame: impl Fn(Cursor) -> Held,
    ) {
        // Streams that opened lately may be further than others.
        let mut places = HashMap::new();
        for member in notice.names().flat_map(|name| subscriptions.members(name)) {
            let stream = &mut streams[member.slot as usize];
            let subscriber = subscribers.of(member.slot);
            let Some(subscriber) = subscriber.filter(|s| s.was_granted(&notice.event)) else {
                continue;
            };
            if stream.replay.is_some() {
                // Once it is live it is told how things are.
                subscriber.missed.set(true);
                continue;
            }
            let next = progress.live(stream.from);
            let place = *places.entry(next).or_insert_with(|| {
                let frame = frame(progress.cursor(next - 1));
                self.push(FrameKind::Ephemeral, frame)
            });
            if !self.ends_with(stream, place) {
                self.link(stream, member.slot, place);
            }
        }
    }

    /// The same frame for every live stream that is not past `seq`.
    pub fn all_live(
        &mut self,
        from: Option<u64>,
        seq: u64,
        frame: impl Fn(Format) -> Held,
        streams: &mut Slab<Stream>,
    ) {
        let mut places = [NONE; FORMATS];
        for (slot, stream) in streams.iter_mut() {
            if stream.takes(seq) {
                let place = &mut places[stream.format as usize];
                if *place == NONE {
                    let of = from.map_or(FrameKind::Control, |seq| {
                        FrameKind::Event(ReplayPosition::start(seq))
                    });
                    *place = self.push(of, frame(stream.format));
                }
                self.link(stream, slot as u32, *place);
            }
        }
    }

    /// An ephemeral message for the subscribers of its channel that lack it. Those that replay are left to
    /// `aside`.
    pub fn ephemeral(
        &mut self,
        ephemeral: &EncodedEphemeral,
        memory: &Arc<Budget>,
        streams: &mut Slab<Stream>,
        subscriptions: &Subscriptions,
        aside: &mut Vec<u32>,
    ) {
        let mut places = [NONE; FORMATS];
        for member in subscriptions.members(&ephemeral.channel) {
            let stream = &mut streams[member.slot as usize];
            let channel = stream.subscriptions[member.sub as usize].channel;
            if !stream.lacks(ephemeral, channel) {
                continue;
            }
            if stream.replay.is_some() {
                aside.push(member.slot);
                continue;
            }
            let place = &mut places[stream.format as usize];
            if *place == NONE {
                *place = self.push(FrameKind::Ephemeral, ephemeral.form(stream.format, memory));
            }
            self.link(stream, member.slot, *place);
        }
    }

    /// Takes a stream's chain, for `chain` and `write_batch`.
    pub fn take(&mut self, stream: &mut Stream) {
        self.runs.clear();
        let mut at = std::mem::replace(&mut stream.chain.first, NONE);
        stream.chain.last = NONE;
        while at != NONE {
            let link = self.links[at as usize];
            self.runs.push((link.start, link.end));
            at = link.next;
        }
    }

    /// The frames of the chain taken last.
    pub fn chain(&self) -> impl Iterator<Item = &Frame> {
        self.frames_of(&self.runs)
    }

    /// The chain taken last, joined; valid until `forget_batches`.
    pub fn write_batch(&mut self) -> WriteBatch {
        if let [(start, end)] = self.runs[..]
            && end == start + 1
        {
            return WriteBatch::Frame(start);
        }
        let in_use = &self.joined[..self.used];
        if in_use.last().is_none_or(|last| last.runs != self.runs) {
            if self.used == self.joined.len() {
                self.joined.push(Joined::default());
            }
            let mut joined = std::mem::take(&mut self.joined[self.used]);
            joined.runs.clone_from(&self.runs);
            joined.bytes.clear();
            self.chain()
                .for_each(|(_, frame)| joined.bytes.extend_from_slice(frame));
            self.joined[self.used] = joined;
            self.used += 1;
        }
        WriteBatch::Joined(self.used as u32 - 1)
    }

    pub fn bytes(&self, write_batch: WriteBatch) -> &[u8] {
        match write_batch {
            WriteBatch::Frame(frame) => &self.frames[frame as usize].1,
            WriteBatch::Joined(joined) => &self.joined[joined as usize].bytes,
        }
    }

    /// The frames of a write.
    pub fn frames(&self, write_batch: WriteBatch) -> Vec<Frame> {
        match write_batch {
            WriteBatch::Frame(frame) => vec![self.frames[frame as usize].clone()],
            WriteBatch::Joined(joined) => self
                .frames_of(&self.joined[joined as usize].runs)
                .cloned()
                .collect(),
        }
    }

    /// Whether the joined chains hold as much as they may: every stream may have a chain of its own.
    pub fn batches_full(&self) -> bool {
        let bytes = || self.joined[..self.used].iter().map(|j| j.bytes.len());
        self.used >= MAX_BATCHES || bytes().sum::<usize>() >= MAX_JOINED
    }

    pub fn forget_batches(&mut self) {
        self.used = 0;
        // Each may have been large once.
        if self.joined_room() > MAX_JOINED {
            self.joined = Vec::new();
        }
    }

    fn joined_room(&self) -> usize {
        self.joined.iter().map(|j| j.bytes.capacity()).sum()
    }

    /// Whether it is to be flushed before another event is added.
    pub fn is_full(&self) -> bool {
        self.bytes >= MAX_GATHERED || self.links.len() >= MAX_LINKS || !self.aside.is_empty()
    }

    fn frames_of(&self, runs: &[Run]) -> impl Iterator<Item = &Frame> {
        runs.iter()
            .flat_map(|(start, end)| &self.frames[*start as usize..*end as usize])
    }

    /// Makes it ready for the next wake. The memory of ordinary bursts is kept, that of a rare large one is not.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.dirty.clear();
        self.links.clear();
        self.bytes = 0;
        self.used = 0;
        if self.joined_room() > KEPT {
            self.joined = Vec::new();
        }
        if self.links.capacity() * size_of::<Link>() > KEPT {
            self.links = Vec::new();
        }
        if self.frames.capacity() * size_of::<Frame>() > KEPT {
            self.frames = Vec::new();
        }
        if self.hits.capacity() * size_of::<(u32, usize)>() > KEPT {
            self.hits = Vec::new();
        }
        self.count = 0;
    }

    /// An event of several channels: one frame for each that the stream has, the last of which moves the cursor.
    fn of_several(&mut self, encoded: &EncodedEvent, streams: &mut Slab<Stream>) {
        let mut hits = std::mem::take(&mut self.hits);
        hits.sort_unstable();
        // Where the frame of each channel is, in both forms: not the last, and the last.
        let mut placed = vec![NONE; 2 * FORMATS * encoded.event.channels().count()];
        for (n, &(slot, index)) in hits.iter().enumerate() {
            if self.aside.last().is_some_and(|(other, _)| *other == slot) {
                continue;
            }
            let last = hits.get(n + 1).is_none_or(|(next, _)| *next != slot);
            let stream = &mut streams[slot as usize];
            let format = stream.format;
            let place = &mut placed[2 * (FORMATS * index + format as usize) + usize::from(last)];
            let at = ReplayPosition {
                seq: encoded.seq(),
                channel: index as u16,
            };
            if *place == NONE && self.bytes >= MAX_EVENT {
                self.aside.push((slot, at));
                continue;
            }
            let form = || encoded.form(format, index, last);
            let frame = self.frame(place, at, form);
            self.link(stream, slot, frame);
        }
        hits.clear();
        self.hits = hits;
    }

    fn frame(&mut self, place: &mut u32, at: ReplayPosition, make: impl FnOnce() -> Held) -> u32 {
        if *place == NONE {
            *place = self.push(FrameKind::Event(at), make());
        }
        *place
    }

    fn push(&mut self, of: FrameKind, frame: Held) -> u32 {
        self.bytes += frame.len() + size_of::<Frame>();
        self.frames.push((of, frame));
        self.frames.len() as u32 - 1
    }

    fn ends_with(&self, stream: &Stream, frame: u32) -> bool {
        stream.chain.last != NONE && self.links[stream.chain.last as usize].end == frame + 1
    }

    fn link(&mut self, stream: &mut Stream, slot: u32, frame: u32) {
        self.count += 1;
        if stream.chain.last != NONE && self.links[stream.chain.last as usize].end == frame {
            self.links[stream.chain.last as usize].end += 1;
            return;
        }
        let link = self.links.len() as u32;
        self.links.push(Link {
            start: frame,
            end: frame + 1,
            next: NONE,
        });
        match stream.chain.last {
            NONE => {
                stream.chain.first = link;
                self.dirty.push(slot);
            }
            last => self.links[last as usize].next = link,
        }
        stream.chain.last = link;
    }
}

impl Stream {
    /// Whether a delivery at `seq` is for the stream: it is encoded, and not past that.
    fn takes(&self, seq: u64) -> bool {
        self.replay.is_none() && seq >= self.from
    }

    /// Whether the stream is to be sent an ephemeral message of its channel.
    fn lacks(&self, ephemeral: &EncodedEphemeral, channel: u32) -> bool {
        let number = match ephemeral.what {
            Ephemeral::Joined { number, .. } | Ephemeral::Left { number, .. } => number,
            Ephemeral::Count(_) => return true,
            Ephemeral::Client { from, .. } => return self.socket != from,
        };
        self.identity.lacks(channel, number)
    }
}

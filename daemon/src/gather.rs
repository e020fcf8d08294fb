//! What one wake has for each stream. Events that arrived together leave together: frames are
//! collected first, by reference, and then each stream gets one write.
//!
//! A stream's frames are a chain of runs of neighbouring frames; for a subscriber of one busy channel
//! that is one run, whatever the number of events. Streams with the same chain share one buffer.

use bytes::Bytes;
use slab::Slab;

use crate::live::Live;
use crate::stream::{Format, NONE, Stream};
use crate::subscriptions::Subscriptions;

#[derive(Debug, Default)]
pub struct Gather {
    pub frames: Vec<Bytes>,
    /// Streams with something to write, in the order they were first met.
    pub dirty: Vec<u32>,
    /// Frames gathered, over all streams.
    pub count: u64,
    links: Vec<Link>,
    hits: Vec<(u32, usize)>,
    runs: Vec<(u32, u32)>,
    joined: Joined,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    start: u32,
    end: u32,
    next: u32,
}

/// The last chain of several frames, as one buffer.
#[derive(Debug, Default)]
struct Joined {
    runs: Vec<(u32, u32)>,
    bytes: Vec<u8>,
}

impl Gather {
    pub fn event(
        &mut self,
        live: &Live,
        streams: &mut Slab<Stream>,
        subscriptions: &Subscriptions,
    ) {
        let several = live.event.channels().nth(1).is_some();
        let (mut raw, mut json) = (NONE, NONE);
        for (index, name) in live.event.channels().enumerate() {
            for member in subscriptions.members(name) {
                let stream = &mut streams[member.slot as usize];
                if !stream.takes(live.seq()) {
                    continue;
                }
                match stream.format {
                    Format::Raw => {
                        let frame = self.frame(&mut raw, || live.raw().clone());
                        // Another of its channels brought it already.
                        if !(several && self.ends_with(stream, frame)) {
                            self.link(stream, member.slot, frame);
                        }
                    }
                    Format::Json if several => self.hits.push((member.slot, index)),
                    Format::Json => {
                        let frame = self.frame(&mut json, || live.json(0, true).clone());
                        self.link(stream, member.slot, frame);
                    }
                }
            }
        }
        if !self.hits.is_empty() {
            self.several_json(live, streams);
        }
    }

    /// The same frame for every live stream that has not been told `seq` yet.
    pub fn everybody(&mut self, seq: u64, frame: Bytes, streams: &mut Slab<Stream>) {
        let index = self.push(frame);
        for (slot, stream) in streams.iter_mut() {
            if stream.takes(seq) {
                self.link(stream, slot as u32, index);
            }
        }
    }

    /// Takes a stream's chain apart. Its bytes are `whole()` until the next chain is taken.
    pub fn take(&mut self, stream: &mut Stream) {
        self.runs.clear();
        let mut at = std::mem::replace(&mut stream.first, NONE);
        stream.last = NONE;
        while at != NONE {
            let link = self.links[at as usize];
            self.runs.push((link.start, link.end));
            at = link.next;
        }
    }

    /// The frames of the chain taken last.
    pub fn chain(&self) -> impl Iterator<Item = &Bytes> {
        self.runs
            .iter()
            .flat_map(|(start, end)| &self.frames[*start as usize..*end as usize])
    }

    /// The chain taken last, in one piece.
    pub fn whole(&mut self) -> &[u8] {
        if let [(start, end)] = self.runs[..]
            && end == start + 1
        {
            return &self.frames[start as usize];
        }
        if self.joined.runs != self.runs {
            self.joined.runs.clone_from(&self.runs);
            let mut bytes = std::mem::take(&mut self.joined.bytes);
            bytes.clear();
            self.chain()
                .for_each(|frame| bytes.extend_from_slice(frame));
            self.joined.bytes = bytes;
        }
        &self.joined.bytes
    }

    /// Ready for the next wake. The room of ordinary bursts is kept, that of a rare large one is not.
    pub fn clear(&mut self) {
        const KEPT: usize = 1 << 20;
        self.frames.clear();
        self.dirty.clear();
        self.links.clear();
        self.joined.runs.clear();
        if self.joined.bytes.capacity() > KEPT {
            self.joined.bytes = Vec::new();
        }
        if self.links.capacity() * size_of::<Link>() > KEPT {
            self.links = Vec::new();
        }
        self.count = 0;
    }

    /// One frame per matching channel, the last of which moves the cursor.
    fn several_json(&mut self, live: &Live, streams: &mut Slab<Stream>) {
        let mut hits = std::mem::take(&mut self.hits);
        hits.sort_unstable();
        // Where the form of each channel, not last and last, lies among the frames.
        let mut placed = vec![NONE; 2 * live.event.channels().count()];
        for (n, &(slot, index)) in hits.iter().enumerate() {
            let last = hits.get(n + 1).is_none_or(|(next, _)| *next != slot);
            let place = &mut placed[2 * index + usize::from(last)];
            let frame = self.frame(place, || live.json(index, last).clone());
            self.link(&mut streams[slot as usize], slot, frame);
        }
        hits.clear();
        self.hits = hits;
    }

    fn frame(&mut self, place: &mut u32, make: impl FnOnce() -> Bytes) -> u32 {
        if *place == NONE {
            *place = self.push(make());
        }
        *place
    }

    fn push(&mut self, frame: Bytes) -> u32 {
        self.frames.push(frame);
        self.frames.len() as u32 - 1
    }

    fn ends_with(&self, stream: &Stream, frame: u32) -> bool {
        stream.last != NONE && self.links[stream.last as usize].end == frame + 1
    }

    fn link(&mut self, stream: &mut Stream, slot: u32, frame: u32) {
        self.count += 1;
        if stream.last != NONE && self.links[stream.last as usize].end == frame {
            self.links[stream.last as usize].end += 1;
            return;
        }
        let link = self.links.len() as u32;
        self.links.push(Link {
            start: frame,
            end: frame + 1,
            next: NONE,
        });
        match stream.last {
            NONE => {
                stream.first = link;
                self.dirty.push(slot);
            }
            last => self.links[last as usize].next = link,
        }
        stream.last = link;
    }
}

impl Stream {
    /// Whether a hand-off at `seq` is for it: live, and not told that yet.
    fn takes(&self, seq: u64) -> bool {
        self.pull.is_none() && !self.leaving && seq >= self.from
    }
}

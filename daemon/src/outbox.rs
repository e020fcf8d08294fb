//! What waits for a client whose socket is full. Exists only while something waits; frames are shared
//! by reference, and bounded in number and bytes, of the stream and of the process.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use nix::errno::Errno;
use nix::sys::uio::writev;

use crate::bus::Budget;

/// Frames handed to one `writev`.
const BATCH: usize = 64;

/// Bytes of notices that may wait behind something else past a stream's bounds, and what each counts
/// beside its own: an honest client has few. One may ask for them again and again and not take them.
const NOTICES: usize = 1 << 20;
const NOTICE: usize = 64;

/// What is written whole, and what it is of.
pub type Frame = (Of, Bytes);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The event at this position: history has it.
    Event(u64),
    /// What a stream must be told, and nobody else knows.
    Notice,
    /// What may be left out, if that is told or mended.
    Ephemeral,
}

impl Of {
    pub fn seq(self) -> Option<u64> {
        match self {
            Self::Event(seq) => Some(seq),
            _ => None,
        }
    }
}

/// Bounds of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub frames: usize,
    pub bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Full {
    /// The stream's own bound.
    Stream,
    /// The process's.
    Process,
}

#[derive(Debug)]
pub struct Outbox {
    frames: VecDeque<Frame>,
    /// Part of the first event has been written.
    begun: bool,
    bytes: usize,
    budget: Arc<Budget>,
    /// When the client last took something.
    pub since: Instant,
}

impl Outbox {
    pub fn new(budget: Arc<Budget>) -> Self {
        Self {
            frames: VecDeque::with_capacity(1),
            begun: false,
            bytes: 0,
            budget,
            since: Instant::now(),
        }
    }

    /// What is pushed first is the rest of something.
    pub fn begin(&mut self) {
        self.begun = true;
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether the last frame is of the event at `seq`.
    pub fn ends_with(&self, seq: u64) -> bool {
        self.frames
            .back()
            .is_some_and(|(last, _)| *last == Of::Event(seq))
    }

    /// One event always fits, however large: it may delay a client, but not lock it out for good. Nor is
    /// an event torn apart. A notice cannot be left out: past [`NOTICES`] the stream cannot go on.
    pub fn push(&mut self, of: Of, frame: Bytes, bounds: Bounds) -> Result<(), Full> {
        let len = frame.len();
        let over = self.frames.len() >= bounds.frames || self.bytes + len > bounds.bytes;
        let same = |last: Of| last == of && of != Of::Ephemeral;
        let goes_on = self.frames.back().is_none_or(|(last, _)| same(*last));
        if over && !goes_on && of != Of::Notice {
            return Err(Full::Stream);
        }
        if over && of == Of::Notice && self.notices() > NOTICES {
            return Err(Full::Stream);
        }
        if !self.budget.take(len) {
            return Err(Full::Process);
        }
        self.bytes += len;
        self.frames.push_back((of, frame));
        Ok(())
    }

    /// Bytes of the notices behind the first frame.
    fn notices(&self) -> usize {
        let behind = self.frames.iter().skip(1);
        let notices = behind.filter(|(of, _)| *of == Of::Notice);
        notices.map(|(_, frame)| NOTICE + frame.len()).sum()
    }

    /// Forgets the events of which nothing has been written; returns the position of the first.
    pub fn forget(&mut self) -> Option<u64> {
        // The rest of an event that has been begun stays, and so do notices.
        let begun = match self.frames.front() {
            Some((of, _)) if self.begun => of.seq(),
            _ => None,
        };
        let mut first = None;
        let mut dropped = 0;
        self.frames.retain(|(of, frame)| {
            let seq = of.seq();
            let stays = seq.is_none() || seq == begun;
            if !stays {
                // Not the foremost: positions of a ring that was replaced may be higher.
                first = first.into_iter().chain(seq).min();
                dropped += frame.len();
            }
            stays
        });
        self.bytes -= dropped;
        self.budget.give_back(dropped);
        first
    }

    /// Writes as much as the socket takes; returns how many bytes.
    pub fn write_to(&mut self, fd: BorrowedFd<'_>) -> Result<usize, Errno> {
        let mut written = 0;
        while !self.frames.is_empty() {
            let slices: Vec<IoSlice<'_>> = self
                .frames
                .iter()
                .take(BATCH)
                .map(|(_, frame)| IoSlice::new(frame))
                .collect();
            match writev(fd, &slices) {
                Ok(n) => {
                    self.advance(n);
                    written += n;
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    fn advance(&mut self, mut n: usize) {
        self.bytes -= n;
        self.budget.give_back(n);
        self.since = Instant::now();
        while n > 0 {
            let Some((_, first)) = self.frames.front_mut() else {
                return;
            };
            if first.len() > n {
                first.advance(n);
                self.begun |= n > 0;
                return;
            }
            n -= first.len();
            let ended = self.frames.pop_front().and_then(|(of, _)| of.seq());
            let next = self.frames.front().and_then(|(of, _)| of.seq());
            self.begun = ended.is_some() && ended == next;
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    const BOUNDS: Bounds = Bounds {
        frames: 3,
        bytes: 100,
    };

    fn frame(len: usize) -> Bytes {
        vec![b'x'; len].into()
    }

    #[test]
    fn a_stream_has_its_bounds_but_one_frame_always_fits() {
        let budget = Arc::new(Budget::new(1 << 30));
        let mut outbox = Outbox::new(budget.clone());
        assert_eq!(outbox.push(Of::Event(1), frame(1000), BOUNDS), Ok(()));
        assert_eq!(
            outbox.push(Of::Event(1), frame(1), BOUNDS),
            Ok(()),
            "the same event"
        );
        assert_eq!(
            outbox.push(Of::Event(2), frame(1), BOUNDS),
            Err(Full::Stream),
            "bytes"
        );
        assert_eq!(
            outbox.push(Of::Notice, frame(1), BOUNDS),
            Ok(()),
            "a notice"
        );
        let mut outbox = Outbox::new(budget);
        for n in 0..3 {
            assert_eq!(outbox.push(Of::Event(n), frame(1), BOUNDS), Ok(()));
        }
        assert_eq!(
            outbox.push(Of::Event(3), frame(1), BOUNDS),
            Err(Full::Stream),
            "frames"
        );
    }

    #[test]
    fn notices_go_past_the_bounds_but_not_without_end() {
        let mut outbox = Outbox::new(Arc::new(Budget::new(1 << 30)));
        let large = NOTICES + 1;
        assert_eq!(outbox.push(Of::Notice, frame(large), BOUNDS), Ok(()));
        assert_eq!(outbox.push(Of::Notice, frame(large), BOUNDS), Ok(()));
        assert_eq!(
            outbox.push(Of::Notice, frame(1), BOUNDS),
            Err(Full::Stream),
            "bytes"
        );
        let mut outbox = Outbox::new(Arc::new(Budget::new(1 << 30)));
        let small = |_: &usize| outbox.push(Of::Notice, frame(1), BOUNDS).is_ok();
        let fit = (0..NOTICES).take_while(small).count();
        assert!((1000..NOTICES / NOTICE + 2).contains(&fit), "{fit} frames");
    }

    #[test]
    fn what_was_not_begun_can_be_forgotten() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let budget = Arc::new(Budget::new(1 << 30));
        let mut outbox = Outbox::new(budget.clone());
        let bounds = Bounds {
            frames: 9,
            bytes: 1 << 30,
        };
        let large = 8 << 20;
        for (seq, len) in [
            (Of::Event(1), large),
            (Of::Event(1), 5),
            (Of::Event(2), 7),
            (Of::Notice, 3),
            (Of::Event(4), 9),
        ] {
            outbox.push(seq, frame(len), bounds).unwrap();
        }
        let begun = outbox.write_to(ours.as_fd()).unwrap();
        assert!(begun > 0 && begun < large);
        assert_eq!(outbox.forget(), Some(2));
        assert_eq!(outbox.forget(), None);
        assert_eq!(budget.used() as usize, large - begun + 5 + 3);
        let mut got = 0;
        let mut buffer = vec![0; 1 << 16];
        while got < large + 8 {
            outbox.write_to(ours.as_fd()).unwrap();
            got += theirs.read(&mut buffer).unwrap();
        }
        assert!(outbox.is_empty() && got == large + 8);
        // Nothing begun: everything can go.
        outbox.push(Of::Event(8), frame(1), bounds).unwrap();
        outbox.push(Of::Event(9), frame(1), bounds).unwrap();
        assert_eq!(outbox.forget(), Some(8));
        assert!(outbox.is_empty() && budget.used() == 0);
    }

    #[test]
    fn the_process_has_one_budget_and_gets_it_back() {
        let budget = Arc::new(Budget::new(100));
        let mut one = Outbox::new(budget.clone());
        let mut two = Outbox::new(budget.clone());
        assert_eq!(one.push(Of::Event(1), frame(60), BOUNDS), Ok(()));
        assert_eq!(
            two.push(Of::Event(1), frame(60), BOUNDS),
            Err(Full::Process)
        );
        drop(one);
        assert_eq!(two.push(Of::Event(1), frame(60), BOUNDS), Ok(()));
        drop(two);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_waited_arrives_whole_and_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let budget = Arc::new(Budget::new(1 << 30));
        let mut outbox = Outbox::new(budget.clone());
        let bounds = Bounds {
            frames: 1000,
            bytes: 1 << 30,
        };
        let mut expected = Vec::new();
        for n in 0..200u32 {
            let bytes: Bytes = vec![n as u8; 10_000].into();
            expected.extend_from_slice(&bytes);
            outbox.push(Of::Event(n.into()), bytes, bounds).unwrap();
        }
        let mut got = Vec::new();
        let mut buffer = vec![0; 70_001];
        while got.len() < expected.len() {
            outbox.write_to(ours.as_fd()).unwrap();
            let n = theirs.read(&mut buffer).unwrap();
            got.extend_from_slice(&buffer[..n]);
        }
        assert!(got == expected && outbox.is_empty());
        assert_eq!(budget.used(), 0);
    }
}

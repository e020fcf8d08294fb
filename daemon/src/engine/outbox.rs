//! What waits for a client whose socket is full. It exists only that long. Frames are shared by reference, and bounded
//! in number and bytes for each stream. The process's budget bounds what all outboxes hold together: for it a stream
//! may have to give up what waits for it.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::uio::writev;

use crate::process::budget::{Budget, Charge, Held};

/// Frames handed to one `writev`.
const BATCH: usize = 64;

/// Bytes of control frames that may wait behind something else past a stream's bounds, and what each counts beside its
/// own bytes. An honest client has few; a hostile one may cause many and not take them.
const CONTROL: usize = 1 << 20;
const CONTROL_OVERHEAD: usize = 64;

/// What is written whole, and its kind.
pub type Frame = (FrameKind, Held);

/// A place in what a stream is sent: the event at `seq`, from its channel number `channel` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplayPosition {
    pub seq: u64,
    pub channel: u16,
}

impl ReplayPosition {
    pub fn start(seq: u64) -> Self {
        Self { seq, channel: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// An event, from this place on: it can be replayed.
    Event(ReplayPosition),
    /// A message for this stream alone, which must reach it.
    Control,
    /// A message that may be left out, if that is reported or made good later.
    Ephemeral,
}

/// Bounds of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub frames: usize,
    pub bytes: usize,
}

/// The stream's bounds were reached.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
pub struct Outbox {
    frames: VecDeque<Frame>,
    /// Part of the first frame has been written.
    begun: bool,
    bytes: usize,
    /// The list itself.
    list: Charge,
    /// When the client last took something.
    pub since: Instant,
}

/// What a stream gave up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// The first event given up: from here on they are replayed.
    pub from: Option<ReplayPosition>,
    /// Frames that cannot be replayed, but may be left out.
    pub ephemeral: usize,
}

impl Outbox {
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self {
            frames: VecDeque::new(),
            begun: false,
            bytes: 0,
            list: budget.charge(size_of::<Self>()),
            since: Instant::now(),
        }
    }

    /// The budget that what waits here counts in.
    pub fn budget(&self) -> &Budget {
        self.list.budget()
    }

    /// What is pushed first is the rest of a frame.
    pub fn begin(&mut self) {
        self.begun = true;
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// No frame waits; the stream only waits for its socket.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How much it has held for how long: the heaviest outbox gives way first.
    pub fn burden(&self, now: Instant) -> u128 {
        let age = now.saturating_duration_since(self.since).as_micros() + 1;
        self.bytes as u128 * age
    }

    /// One frame always fits, however large: it may delay a client, but not lock it out for good. A
    /// control frame cannot be left out: past [`CONTROL`] bytes of them the stream cannot go on.
    pub fn push(&mut self, of: FrameKind, frame: Held, bounds: Bounds) -> Result<(), Full> {
        let len = frame.len();
        let over = self.frames.len() >= bounds.frames || self.bytes + len > bounds.bytes;
        if over
            && !self.frames.is_empty()
            && (of != FrameKind::Control || self.control_bytes() > CONTROL)
        {
            return Err(Full);
        }
        self.frames.push_back((of, frame));
        self.bytes += len;
        self.list.budget().waiting.add(len as u64);
        self.count_list();
        Ok(())
    }

    /// Bytes of the control frames behind the first frame.
    fn control_bytes(&self) -> usize {
        let behind = self.frames.iter().skip(1);
        let control = behind.filter(|(of, _)| *of == FrameKind::Control);
        control
            .map(|(_, frame)| CONTROL_OVERHEAD + frame.len())
            .sum()
    }

    /// Gives up what waits, as far as it can be replayed or left out: not a frame written in part, and nothing before a
    /// control frame, which may contain a cursor.
    pub fn give_up(&mut self) -> GivenUp {
        let control = self
            .frames
            .iter()
            .rposition(|(of, _)| *of == FrameKind::Control);
        let begun = usize::from(self.begun && !self.is_empty());
        let stays = control.map_or(begun, |at| at + 1);
        let mut given = GivenUp::default();
        for (of, frame) in self.frames.drain(stays..) {
            self.bytes -= frame.len();
            self.list.budget().waiting.sub(frame.len() as u64);
            match of {
                // Not the first of them: positions of a ring that was replaced may be higher.
                FrameKind::Event(at) => given.from = given.from.into_iter().chain([at]).min(),
                _ => given.ephemeral += 1,
            }
        }
        self.frames.shrink_to_fit();
        self.count_list();
        given
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
        self.list.budget().waiting.sub(n as u64);
        self.since = Instant::now();
        while n > 0 {
            let Some((_, first)) = self.frames.front_mut() else {
                return;
            };
            if first.len() > n {
                first.advance(n);
                self.begun = true;
                return;
            }
            n -= first.len();
            self.frames.pop_front();
            self.begun = false;
        }
    }

    fn count_list(&mut self) {
        self.list
            .set(size_of::<Self>() + self.frames.capacity() * size_of::<Frame>());
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.list.budget().waiting.sub(self.bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        frames: 3,
        bytes: 100,
    };
    const WIDE: Bounds = Bounds {
        frames: 1000,
        bytes: 1 << 30,
    };

    fn budget() -> Arc<Budget> {
        Arc::new(Budget::new(1 << 30))
    }

    fn event(seq: u64, channel: u16) -> FrameKind {
        FrameKind::Event(ReplayPosition { seq, channel })
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, theirs)
    }

    #[test]
    fn a_stream_has_its_bounds_but_one_frame_always_fits() {
        let budget = budget();
        let frame = |len| budget.hold(vec![b'x'; len]);
        let mut outbox = Outbox::new(&budget);
        assert_eq!(outbox.push(event(1, 0), frame(1000), BOUNDS), Ok(()));
        assert_eq!(
            outbox.push(event(1, 1), frame(1), BOUNDS),
            Err(Full),
            "another channel of the same event can be read again too"
        );
        assert_eq!(outbox.push(event(2, 0), frame(1), BOUNDS), Err(Full));
        assert_eq!(
            outbox.push(FrameKind::Control, frame(1), BOUNDS),
            Ok(()),
            "a control frame"
        );
        let mut outbox = Outbox::new(&budget);
        for n in 0..3 {
            assert_eq!(outbox.push(event(n, 0), frame(1), BOUNDS), Ok(()));
        }
        assert_eq!(
            outbox.push(event(3, 0), frame(1), BOUNDS),
            Err(Full),
            "frames"
        );
    }

    #[test]
    fn control_frames_may_exceed_the_bounds_but_not_without_limit() {
        let budget = budget();
        let frame = |len| budget.hold(vec![b'x'; len]);
        let mut outbox = Outbox::new(&budget);
        let large = CONTROL + 1;
        assert_eq!(
            outbox.push(FrameKind::Control, frame(large), BOUNDS),
            Ok(())
        );
        assert_eq!(
            outbox.push(FrameKind::Control, frame(large), BOUNDS),
            Ok(())
        );
        assert_eq!(
            outbox.push(FrameKind::Control, frame(1), BOUNDS),
            Err(Full),
            "bytes"
        );
        let mut outbox = Outbox::new(&budget);
        let small = |_: &usize| outbox.push(FrameKind::Control, frame(1), BOUNDS).is_ok();
        let fit = (0..CONTROL).take_while(small).count();
        assert!(
            (1000..CONTROL / CONTROL_OVERHEAD + 2).contains(&fit),
            "{fit} frames"
        );
    }

    #[test]
    fn what_was_not_written_in_part_can_be_given_up() {
        let (ours, mut theirs) = pair();
        let budget = budget();
        let frame = |len| budget.hold(vec![b'x'; len]);
        let mut outbox = Outbox::new(&budget);
        let large = 8 << 20;
        for (of, len) in [
            (event(1, 2), large),
            (event(1, 5), 5),
            (event(2, 0), 7),
            (FrameKind::Ephemeral, 3),
            (event(4, 0), 9),
        ] {
            outbox.push(of, frame(len), WIDE).unwrap();
        }
        let begun = outbox.write_to(ours.as_fd()).unwrap();
        assert!(begun > 0 && begun < large);
        let given = outbox.give_up();
        let from = Some(ReplayPosition { seq: 1, channel: 5 });
        assert_eq!(given, GivenUp { from, ephemeral: 1 });
        assert_eq!(outbox.give_up(), GivenUp::default());
        assert_eq!(budget.waiting.get() as usize, large - begun);
        let mut got = 0;
        let mut buffer = vec![0; 1 << 16];
        while got < large {
            outbox.write_to(ours.as_fd()).unwrap();
            got += theirs.read(&mut buffer).unwrap();
        }
        assert!(outbox.is_empty() && got == large);
        // Nothing was written in part: everything can go. Positions of a ring that was replaced may be higher.
        outbox.push(event(9, 0), frame(1), WIDE).unwrap();
        outbox.push(event(8, 0), frame(1), WIDE).unwrap();
        assert_eq!(outbox.give_up().from, Some(ReplayPosition::start(8)));
        assert!(outbox.is_empty() && budget.waiting.get() == 0);
        drop(outbox);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_before_a_control_frame_stays_because_that_may_contain_a_cursor() {
        let budget = budget();
        let frame = |len| budget.hold(vec![b'x'; len]);
        let mut outbox = Outbox::new(&budget);
        for of in [event(1, 0), FrameKind::Control, event(2, 0), event(3, 0)] {
            outbox.push(of, frame(10), WIDE).unwrap();
        }
        assert_eq!(outbox.give_up().from, Some(ReplayPosition::start(2)));
        assert_eq!(budget.waiting.get(), 20);
        assert_eq!(outbox.give_up(), GivenUp::default());
    }

    #[test]
    fn an_outbox_that_holds_much_for_long_is_the_heaviest() {
        let budget = budget();
        let frame = |len| budget.hold(vec![b'x'; len]);
        let now = Instant::now();
        let outbox = |len, seconds| {
            let mut outbox = Outbox::new(&budget);
            outbox.push(event(1, 0), frame(len), WIDE).unwrap();
            outbox.since = now
                .checked_sub(std::time::Duration::from_secs(seconds))
                .unwrap();
            outbox.burden(now)
        };
        assert!(outbox(100, 10) > outbox(100, 9));
        assert!(outbox(101, 10) > outbox(100, 10));
        assert!(outbox(1000, 1) > outbox(10, 10));
        assert!(outbox(10, 10) > outbox(1 << 20, 0), "a newcomer");
    }

    #[test]
    fn shared_frames_count_once_and_the_list_for_itself() {
        let budget = budget();
        let frame = budget.hold(vec![b'x'; 5000]);
        let one = budget.used();
        let outboxes: Vec<Outbox> = (0..100)
            .map(|n| {
                let mut outbox = Outbox::new(&budget);
                outbox.push(event(n, 0), frame.clone(), WIDE).unwrap();
                outbox
            })
            .collect();
        assert_eq!(budget.waiting.get(), 500_000);
        let lists = budget.used() - one;
        assert!((10_000..100_000).contains(&lists), "{lists}");
        drop((outboxes, frame));
        assert_eq!((budget.used(), budget.waiting.get()), (0, 0));
    }

    #[test]
    fn what_waited_arrives_whole_and_in_order() {
        let (ours, mut theirs) = pair();
        let budget = budget();
        let mut outbox = Outbox::new(&budget);
        let mut expected = Vec::new();
        for n in 0..200u32 {
            let bytes = vec![n as u8; 10_000];
            expected.extend_from_slice(&bytes);
            let frame = budget.hold(bytes);
            outbox.push(event(n.into(), 0), frame, WIDE).unwrap();
        }
        let mut got = Vec::new();
        let mut buffer = vec![0; 70_001];
        while got.len() < expected.len() {
            outbox.write_to(ours.as_fd()).unwrap();
            let n = theirs.read(&mut buffer).unwrap();
            got.extend_from_slice(&buffer[..n]);
        }
        assert!(got == expected && outbox.is_empty());
        assert_eq!(budget.waiting.get(), 0);
    }
}

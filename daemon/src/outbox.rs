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
    frames: VecDeque<Bytes>,
    bytes: usize,
    budget: Arc<Budget>,
    /// When the client last took something.
    pub since: Instant,
}

impl Outbox {
    pub fn new(budget: Arc<Budget>) -> Self {
        Self {
            frames: VecDeque::with_capacity(1),
            bytes: 0,
            budget,
            since: Instant::now(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// One frame always fits, however large: an event may delay a client, but not lock it out for good.
    pub fn push(&mut self, frame: Bytes, bounds: Bounds) -> Result<(), Full> {
        let len = frame.len();
        let over = self.frames.len() >= bounds.frames || self.bytes + len > bounds.bytes;
        if over && !self.frames.is_empty() {
            return Err(Full::Stream);
        }
        if !self.budget.take(len) {
            return Err(Full::Process);
        }
        self.bytes += len;
        self.frames.push_back(frame);
        Ok(())
    }

    /// Writes as much as the socket takes; returns how many bytes.
    pub fn write_to(&mut self, fd: BorrowedFd<'_>) -> Result<usize, Errno> {
        let mut written = 0;
        while !self.frames.is_empty() {
            let slices: Vec<IoSlice<'_>> = self
                .frames
                .iter()
                .take(BATCH)
                .map(|frame| IoSlice::new(frame))
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
            let Some(first) = self.frames.front_mut() else {
                return;
            };
            if first.len() > n {
                first.advance(n);
                return;
            }
            n -= first.len();
            self.frames.pop_front();
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
        assert_eq!(outbox.push(frame(1000), BOUNDS), Ok(()));
        assert_eq!(outbox.push(frame(1), BOUNDS), Err(Full::Stream), "bytes");
        let mut outbox = Outbox::new(budget);
        for _ in 0..3 {
            assert_eq!(outbox.push(frame(1), BOUNDS), Ok(()));
        }
        assert_eq!(outbox.push(frame(1), BOUNDS), Err(Full::Stream), "frames");
    }

    #[test]
    fn the_process_has_one_budget_and_gets_it_back() {
        let budget = Arc::new(Budget::new(100));
        let mut one = Outbox::new(budget.clone());
        let mut two = Outbox::new(budget.clone());
        assert_eq!(one.push(frame(60), BOUNDS), Ok(()));
        assert_eq!(two.push(frame(60), BOUNDS), Err(Full::Process));
        drop(one);
        assert_eq!(two.push(frame(60), BOUNDS), Ok(()));
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
            outbox.push(bytes, bounds).unwrap();
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

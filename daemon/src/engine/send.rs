//! Frames for one stream: written at once, or kept in its outbox while its socket is full.

use protocol::close_reason::CloseReason;

use crate::config::SlowClients;
use crate::engine::outbox::{Frame, FrameKind, Outbox, ReplayPosition};
use crate::engine::stream::close_reason;
use crate::engine::streams::Engine;
use crate::engine::transmit::write_to;
use crate::process::budget::Held;

impl Engine {
    /// One frame for one stream, now or behind what waits for it.
    pub(super) fn send_frame(&mut self, slot: u32, of: FrameKind, frame: Held) {
        let stream = &self.streams[slot as usize];
        if stream.outbox.is_some() {
            return self.enqueue(slot, false, vec![(of, frame)]);
        }
        match write_to(&stream.fd, &frame) {
            Ok(written) if written == frame.len() => {}
            Ok(0) => self.enqueue(slot, false, vec![(of, frame)]),
            Ok(written) => {
                self.enqueue(slot, true, vec![(FrameKind::Control, frame.after(written))])
            }
            Err(error) => self.close(slot, close_reason(error)),
        }
    }

    /// A message that is for this stream alone and must reach it.
    pub(super) fn send_control(&mut self, slot: u32, bytes: Vec<u8>) {
        let frame = self.hub.process.memory.hold(bytes);
        self.send_frame(slot, FrameKind::Control, frame);
    }

    /// The socket is full: frames wait in the outbox, within its bounds. What does not fit is left to
    /// `server.slow_clients`. `begun`: the first of the frames was written in part.
    pub(super) fn enqueue(&mut self, slot: u32, begun: bool, frames: Vec<Frame>) {
        let outbox = self.outbox(slot);
        if begun {
            outbox.begin();
        }
        let count = frames.len();
        let (mut missed, mut full) = (0, None);
        let bounds = self.rules.outbox;
        for (n, (of, frame)) in frames.into_iter().enumerate() {
            let outbox = self.outbox(slot);
            match of {
                // What follows is read again later, except what cannot be.
                FrameKind::Event(_) if full.is_some() => {}
                FrameKind::Ephemeral if full.is_some() => missed += 1,
                _ if outbox.push(of, frame, bounds).is_ok() => {}
                FrameKind::Event(at) => full = Some((n, at)),
                FrameKind::Ephemeral => missed += 1,
                FrameKind::Control => return self.close(slot, CloseReason::Slow),
            }
        }
        self.miss(slot, missed);
        if let Some((n, at)) = full {
            self.output.fanout.count -= ((count - n) as u64).min(self.output.fanout.count);
            self.overflow(slot, at);
        }
    }

    /// The stream's outbox, made if it has none.
    pub(super) fn outbox(&mut self, slot: u32) -> &mut Outbox {
        let memory = &self.hub.process.memory;
        let stream = &mut self.streams[slot as usize];
        stream.outbox.get_or_insert_with(|| {
            self.slow.add(stream.client, slot);
            // It is watched already, so that this needs nothing that may be missing.
            let _ = self.poller.await_writable(&stream.fd, slot);
            Box::new(Outbox::new(memory))
        })
    }

    /// The socket is full, and nothing is kept for it: the stream replays once it can be written to.
    pub(super) fn await_writable(&mut self, slot: u32) {
        self.outbox(slot);
    }

    /// Ephemeral frames, which cannot be replayed, were left out.
    pub(super) fn miss(&mut self, slot: u32, count: usize) {
        if count == 0 {
            return;
        }
        self.hub.process.metrics.ephemeral_missed.add(count as u64);
        self.streams[slot as usize].identity.miss();
        if let Some(subscriber) = self.subscribers.of(slot) {
            subscriber.missed.set(true);
        }
    }

    /// Events from `from` on did not fit.
    fn overflow(&mut self, slot: u32, from: ReplayPosition) {
        match self.rules.slow_clients {
            SlowClients::Close => self.close(slot, CloseReason::Slow),
            SlowClients::Replay => {
                self.hub.process.metrics.slow_replayed.add(1);
                self.fall_back(slot, from, false);
            }
            SlowClients::Skip => {
                let given = self.outbox(slot).give_up();
                self.miss(slot, given.ephemeral);
                self.hub.process.metrics.slow_skipped.add(1);
                self.fall_back(slot, given.from.unwrap_or(from).min(from), true);
            }
        }
    }
}

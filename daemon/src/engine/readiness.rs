//! What the sockets report: input, an end, or room to write.

use std::os::fd::AsFd;

use nix::sys::epoll::EpollFlags;
use protocol::close_reason::CloseReason;

use crate::engine::stream::close_reason;
use crate::engine::streams::Engine;

/// How much a client took of what waited for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    Nothing,
    Some,
    /// Nothing waits any more. Or the stream is closed.
    All,
}

impl Engine {
    /// Deals with what the sockets report. False: there may be more.
    pub fn on_ready(&mut self) -> bool {
        let (ready, count) = self.poller.take_ready();
        for event in &ready[..count] {
            self.on_event(event.data() as u32, event.events());
        }
        let done = count < ready.len();
        self.poller.put_back(ready);
        done
    }

    fn on_event(&mut self, slot: u32, flags: EpollFlags) {
        let reads = flags.contains(EpollFlags::EPOLLIN);
        if reads {
            self.read_input(slot);
        }
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        if flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP) {
            return self.close(slot, CloseReason::Peer);
        }
        if reads && !stream.format.is_websocket() {
            return self.retire(slot, CloseReason::Input);
        }
        let Some(outbox) = &mut stream.outbox else {
            // Changes of members that found no room in the outbox may have been missed.
            return self.refresh_members(slot);
        };
        if outbox.is_empty() && !flags.contains(EpollFlags::EPOLLOUT) {
            // The socket is still full.
            return;
        }
        self.write_outbox(slot);
    }

    /// Writes what waits for a stream, as far as its socket has room.
    pub(super) fn write_outbox(&mut self, slot: u32) -> Took {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return Took::All;
        };
        let Some(outbox) = &mut stream.outbox else {
            return Took::All;
        };
        let written = match outbox.write_to(stream.fd.as_fd()) {
            Ok(written) => written,
            Err(error) => {
                self.close(slot, close_reason(error));
                return Took::All;
            }
        };
        self.hub.counters(self.worker).bytes.add(written as u64);
        if !outbox.is_empty() {
            return match written {
                0 => Took::Nothing,
                _ => Took::Some,
            };
        }
        stream.outbox = None;
        self.slow.remove(stream.client, slot);
        if stream.replay.is_some() {
            self.replays.ready.add(stream.client, slot);
        }
        self.refresh_members(slot);
        Took::All
    }
}

//! Bytes to sockets: a gathered wake, a piece of replay, one frame; and what a full socket leaves over.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use nix::errno::Errno;
use nix::unistd::write;

use super::Engine;
use crate::outbox::{Full, Outbox};
use crate::pull::{self, Pull};
use crate::stream::End;

impl Engine {
    /// Writes `self.piece`, filled up with what the stream has to pull.
    pub(super) fn send_piece(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        let mut reached = None;
        if let Some(pull) = stream.pull.as_deref() {
            let mut pull = *pull;
            // Hand-offs that were dealt with meanwhile were not for it: it pulls them too.
            pull.target = pull.target.max(self.processed);
            let names: Vec<&str> = stream
                .subscriptions
                .iter()
                .map(|s| &**self.subscriptions.name(s.channel))
                .collect();
            let (bus, reader, piece) = (&self.bus, &mut self.reader, &mut self.piece);
            reached = Some(pull::fill(
                bus,
                reader,
                self.epoch,
                &names,
                stream.format,
                pull,
                piece,
            ));
        }
        let bytes = &self.piece.bytes;
        let written = match write_some(&stream.fd, bytes) {
            Ok(written) => written,
            Err(end) => return self.close(slot, end),
        };
        self.bus.metrics.bytes.add(written as u64);
        if written < bytes.len() {
            // What was not begun is pulled again later: only a cut frame waits in memory.
            let (end, after) = self
                .piece
                .cut(written)
                .unwrap_or((bytes.len(), Pull::default()));
            let rest = Bytes::copy_from_slice(&bytes[written..end]);
            if let Some(pull) = stream.pull.as_deref_mut() {
                *pull = after;
            }
            return self.block(slot, std::iter::once(rest));
        }
        match reached {
            Some((pull, true)) => {
                stream.from = pull.target;
                stream.pull = None;
            }
            Some((pull, false)) => {
                stream.pull = Some(Box::new(pull));
                self.pulling.push_back(slot);
            }
            None => {}
        }
    }

    /// Writes what was gathered, each stream's in one write.
    pub(super) fn flush(&mut self) {
        if self.gather.dirty.is_empty() {
            return self.gather.clear();
        }
        let mut bytes = 0;
        for n in 0..self.gather.dirty.len() {
            let slot = self.gather.dirty[n];
            let stream = &mut self.streams[slot as usize];
            self.gather.take(stream);
            stream.fresh = true;
            if stream.outbox.is_some() {
                let frames: Vec<Bytes> = self.gather.chain().cloned().collect();
                self.block(slot, frames.into_iter());
                continue;
            }
            let whole = self.gather.whole();
            match write_some(&stream.fd, whole) {
                Ok(written) if written == whole.len() => bytes += written,
                Ok(written) => {
                    bytes += written;
                    let mut skip = written;
                    let rest: Vec<Bytes> = self
                        .gather
                        .chain()
                        .filter_map(|frame| {
                            let from = skip.min(frame.len());
                            skip -= from;
                            (from < frame.len()).then(|| frame.slice(from..))
                        })
                        .collect();
                    self.block(slot, rest.into_iter());
                }
                Err(end) => self.close(slot, end),
            }
        }
        self.bus.metrics.bytes.add(bytes as u64);
        self.bus.metrics.delivered.add(self.gather.count);
        self.gather.clear();
    }

    /// One frame for one stream that has no outbox.
    pub(super) fn send_one(&mut self, slot: u32, frame: Bytes) {
        let stream = &self.streams[slot as usize];
        if stream.outbox.is_some() {
            return self.block(slot, std::iter::once(frame));
        }
        match write_some(&stream.fd, &frame) {
            Ok(written) if written == frame.len() => {}
            Ok(written) => self.block(slot, std::iter::once(frame.slice(written..))),
            Err(end) => self.close(slot, end),
        }
    }

    /// The socket is full: frames wait, within bounds.
    pub(super) fn block(&mut self, slot: u32, frames: impl Iterator<Item = Bytes>) {
        let budget = &self.bus.outboxes;
        let stream = &mut self.streams[slot as usize];
        let outbox = stream.outbox.get_or_insert_with(|| {
            self.blocked.insert(slot);
            Box::new(Outbox::new(budget.clone()))
        });
        let mut frames = frames;
        let full = frames.find_map(|frame| outbox.push(frame, self.rules.outbox).err());
        match full {
            None => {}
            Some(Full::Stream) => self.close(slot, End::Slow),
            Some(Full::Process) => self.close(slot, End::Memory),
        }
    }
}

/// How much the socket took, 0 if it is full.
fn write_some(fd: &OwnedFd, bytes: &[u8]) -> Result<usize, End> {
    loop {
        match write(fd, bytes) {
            Ok(written) => return Ok(written),
            Err(Errno::EAGAIN) => return Ok(0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(ended(error)),
        }
    }
}

pub(super) fn ended(error: Errno) -> End {
    match error {
        Errno::EPIPE | Errno::ECONNRESET => End::Peer,
        _ => End::Error,
    }
}

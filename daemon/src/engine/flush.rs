//! The frames gathered in a wake are written.

use std::os::fd::AsFd;

use crate::engine::outbox::Frame;
use crate::engine::stream::close_reason;
use crate::engine::streams::Engine;
use crate::engine::uring::{BATCH, Job};

impl Engine {
    /// Writes what was gathered: one write for each stream, one system call for many streams.
    pub(super) fn flush(&mut self) {
        let mut next = 0;
        while next < self.output.fanout.dirty.len() {
            next = self.collect(next);
            let (fanout, streams) = (&self.output.fanout, &self.streams);
            let jobs: Vec<Job<'_>> = self
                .output
                .writes
                .iter()
                .map(|(slot, write_batch)| Job {
                    fd: streams[*slot as usize].fd.as_fd(),
                    bytes: fanout.bytes(*write_batch),
                })
                .collect();
            self.output.transmit.send(&jobs, &mut self.output.results);
            self.settle();
        }
        self.hub
            .counters(self.worker)
            .delivered
            .add(self.output.fanout.count);
        self.output.fanout.clear();
        self.output.observe_latency(self.hub.counters(self.worker));
        if !self.output.traced.is_empty() {
            self.trace_written();
        }
        for (slot, from) in std::mem::take(&mut self.output.fanout.aside) {
            self.hub.process.metrics.large_replayed.add(1);
            self.fall_back(slot, from, false);
        }
        self.relieve();
    }

    /// Makes the writes for streams from `next` on, as many as are sent together; returns where to go on.
    fn collect(&mut self, mut next: usize) -> usize {
        self.output.writes.clear();
        self.output.fanout.forget_batches();
        while next < self.output.fanout.dirty.len()
            && self.output.writes.len() < BATCH
            && !self.output.fanout.batches_full()
        {
            let slot = self.output.fanout.dirty[next];
            next += 1;
            let stream = &mut self.streams[slot as usize];
            self.output.fanout.take(stream);
            stream.fresh = true;
            if stream.outbox.is_some() {
                let frames: Vec<Frame> = self.output.fanout.chain().cloned().collect();
                self.enqueue(slot, false, frames);
            } else {
                self.output
                    .writes
                    .push((slot, self.output.fanout.write_batch()));
            }
        }
        next
    }

    /// Deals with the results of the writes.
    fn settle(&mut self) {
        let mut bytes = 0;
        let writes = std::mem::take(&mut self.output.writes);
        for (n, &(slot, write_batch)) in writes.iter().enumerate() {
            match self.output.results[n] {
                Ok(written) if written == self.output.fanout.bytes(write_batch).len() => {
                    bytes += written
                }
                Ok(written) => {
                    bytes += written;
                    let mut frames = self.output.fanout.frames(write_batch);
                    let (mut skip, mut begun) = (written, false);
                    frames.retain_mut(|(_, frame)| {
                        let taken = skip.min(frame.len());
                        skip -= taken;
                        frame.advance(taken);
                        begun |= taken > 0 && !frame.is_empty();
                        !frame.is_empty()
                    });
                    self.enqueue(slot, begun, frames);
                }
                Err(error) => self.close(slot, close_reason(error)),
            }
        }
        self.output.writes = writes;
        self.hub.counters(self.worker).bytes.add(bytes as u64);
    }
}

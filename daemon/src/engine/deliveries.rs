//! What the inbox holds: events and ephemeral messages for the fan-out, losses, a replaced ring, commands.

use std::time::Instant;

use protocol::format;
use protocol::gap::Gap;
use protocol::mercure::stream;
use shared::cursor::{Cursor, Epoch};

use crate::engine::outbox::ReplayPosition;
use crate::engine::progress::Progress;
use crate::engine::replay::state::Replay;
use crate::engine::streams::Engine;
use crate::hub::inbox::Delivery;
use crate::process::{faults, quarantine};

impl Engine {
    /// Empties the inbox: one write for each stream, whatever was in it.
    pub fn on_inbox(&mut self) {
        let began = Instant::now();
        // Read before the inbox is emptied: everything below is then among what is taken.
        let completed = self.hub.watermarks.completed();
        let before = self.progress.safe;
        let mut batch = std::mem::take(&mut self.batch);
        self.hub.inboxes[self.worker].take(&mut batch);
        let (mut replaced, some) = (false, !batch.items.is_empty());
        // An event's wire forms are dropped as soon as it was sent.
        for item in batch.items.drain(..) {
            if self.output.fanout.is_full() {
                self.flush();
            }
            replaced |= matches!(item, Delivery::Replaced { .. });
            self.deliver(item);
        }
        self.flush();
        if batch.overrun {
            self.on_overrun();
            self.mark_members_stale();
            self.refresh_all_members();
        }
        self.progress.safe = if replaced {
            self.progress.processed
        } else {
            completed.max(self.progress.processed)
        };
        if some || self.progress.safe > before {
            self.replays.go_on();
        }
        for command in batch.commands.drain(..) {
            self.command(command);
        }
        if some {
            let turn = began.elapsed().as_nanos() as u64;
            self.hub.counters(self.worker).turns.observe(turn);
        }
        self.batch = batch;
    }

    /// Gathers what is to be sent; what changes the streams is preceded by a flush.
    fn deliver(&mut self, item: Delivery) {
        match item {
            Delivery::Event(encoded) => {
                let _in_hand = quarantine::hold(encoded.cursor);
                faults::at("worker-event", encoded.event.data());
                if !encoded.traced.is_empty() {
                    self.trace_event(&encoded);
                }
                self.output.fanout.event(
                    &encoded,
                    &mut self.streams,
                    &self.subscriptions,
                    &self.subscribers,
                    &self.hub.index.erased,
                );
                self.output.published.push(encoded.event.published_ns());
                self.progress.processed = encoded.seq() + 1;
            }
            Delivery::Lost { from, to, gap } => {
                let cursor = self.progress.cursor(to - 1);
                // A replay from there finds the loss in the channel index.
                self.report_gap(Some(from), &gap, cursor);
                self.progress.processed = to;
            }
            Delivery::EncodedEphemeral(ephemeral) => self.on_ephemeral(&ephemeral),
            Delivery::Notice(notice) => {
                let hub = &self.hub;
                let frame = |cursor| {
                    let mut frame = Vec::with_capacity(notice.frame.len() + 48);
                    stream::notice(&mut frame, &notice.frame, hub.sent_cursor(cursor).wire());
                    hub.process.memory.hold(frame)
                };
                self.output.fanout.notice(
                    &notice,
                    &mut self.streams,
                    &self.subscriptions,
                    &self.subscribers,
                    &self.progress,
                    frame,
                );
            }
            Delivery::Settled(channel) => {
                self.flush();
                self.on_settled(&channel);
            }
            Delivery::Replaced { epoch, first } => {
                self.flush();
                self.on_replaced(epoch, first);
            }
        }
    }

    /// Reports a gap to every live stream that is not past `cursor`.
    fn report_gap(&mut self, from: Option<u64>, gap: &Gap, cursor: Cursor) {
        let before = self.output.fanout.count;
        // A stream that opened meanwhile has lost at most that: the bound holds.
        let memory = &self.hub.process.memory;
        let sent = self.hub.sent_cursor(cursor);
        let frame = |format| memory.hold(format::gap(format, &[], gap, sent.wire(), false));
        self.output
            .fanout
            .all_live(from, cursor.seq, frame, &mut self.streams);
        self.hub
            .process
            .metrics
            .gaps
            .add(self.output.fanout.count - before);
        self.output.fanout.count = before;
    }

    /// The ring was replaced: the positions that streams held mean nothing now.
    fn on_replaced(&mut self, epoch: Epoch, first: u64) {
        self.progress = Progress::new(epoch, first);
        self.replays.forget();
        for (_, stream) in &mut self.streams {
            stream.from = 0;
            stream.replay = None;
        }
        self.report_gap(
            None,
            &Gap::UNKNOWN,
            Cursor {
                epoch,
                seq: first - 1,
            },
        );
        self.flush();
        for (_, stream) in &mut self.streams {
            stream.from = first;
        }
    }

    /// This worker was too far behind: its streams replay what its inbox did not keep.
    fn on_overrun(&mut self) {
        self.hub.process.metrics.overruns.add(1);
        let target = self.hub.watermarks.started();
        for (slot, stream) in &mut self.streams {
            if stream.replay.is_none() {
                let next = self.progress.processed.max(stream.from);
                let replay = Replay::new(ReplayPosition::start(next), target.max(next));
                stream.replay = Some(Box::new(replay));
                if stream.outbox.is_none() {
                    self.replays.ready.add(stream.client, slot as u32);
                }
            } else if let Some(replay) = &mut stream.replay {
                replay.target = replay.target.max(target);
            }
        }
    }
}

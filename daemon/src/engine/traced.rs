//! What a worker notes of an event that is traced: who gets it and who does not, and when it was written.

use std::sync::Arc;

use crate::engine::streams::Engine;
use crate::hub::encoded_event::EncodedEvent;
use crate::hub::trace::{NAMED, PassedOver, What, Why};

impl Engine {
    /// Before it is gathered for the streams: afterwards their state is another one.
    #[cold]
    pub(super) fn trace_event(&mut self, encoded: &EncodedEvent) {
        for channel in &encoded.traced {
            self.trace_on(channel, encoded);
        }
    }

    fn trace_on(&mut self, channel: &Arc<str>, encoded: &EncodedEvent) {
        let (mut streams, mut passed_over, mut some) = (0, 0, Vec::new());
        let erased = self.hub.index.erased.hides(channel, encoded.seq());
        for member in self.subscriptions.members(channel) {
            let stream = &self.streams[member.slot as usize];
            let why = match () {
                () if erased => Why::Erased,
                () if encoded.except == Some(stream.socket) => Why::Except,
                () if stream.replay.is_some() => Why::Replays,
                () if encoded.seq() < stream.from => Why::HasIt,
                () => {
                    streams += 1;
                    continue;
                }
            };
            passed_over += 1;
            if some.len() < NAMED {
                some.push(PassedOver::new(stream.socket, why));
            }
        }
        let what = What::Sent {
            worker: self.worker,
            streams,
            passed_over,
            some,
        };
        self.hub.traces.note(channel, Some(encoded.cursor), what);
        let written = (channel.clone(), encoded.cursor);
        self.output.traced.push(written);
    }

    /// What was gathered has been written.
    #[cold]
    pub(super) fn trace_written(&mut self) {
        let full = |slot: u32| self.streams[slot as usize].outbox.is_some();
        for (channel, cursor) in std::mem::take(&mut self.output.traced) {
            let members = self.subscriptions.members(&channel).iter();
            let waiting = members.filter(|member| full(member.slot)).count();
            let what = What::Written {
                worker: self.worker,
                waiting,
            };
            self.hub.traces.note(&channel, Some(cursor), what);
        }
    }
}

//! Streams on presence channels: they join and leave with their subscriptions, and are sent a snapshot and then the
//! changes they do not know.

use protocol::channel::Kind;
use protocol::close_reason::CloseReason;
use protocol::format;
use shared::cursor::Cursor;

use crate::auth::authorizer::Access;
use crate::engine::identity::{Present, Row, UNSENT};
use crate::engine::outbox::FrameKind;
use crate::engine::stream::Stream;
use crate::engine::streams::Engine;
use crate::hub::ephemeral::EncodedEphemeral;
use crate::hub::presence::{Departure, Refused};
use crate::hub::sent_cursor::SentCursor;

impl Engine {
    /// The stream subscribed to a channel under this access, and is in its routes already.
    ///
    /// # Errors
    /// If the channel has as many members as it may have.
    pub(super) fn admit(
        &mut self,
        slot: u32,
        channel: u32,
        access: &Access,
    ) -> Result<(), Refused> {
        let Some(user) = &access.user else {
            return Ok(());
        };
        let stream = &mut self.streams[slot as usize];
        let client = stream.client;
        stream.identity.add(user);
        let name = self.subscriptions.name(channel);
        if !Kind::of(name).is_presence() {
            return Ok(());
        }
        let members = &self.app.roster;
        let present = stream.identity.presence(|| members.connection());
        members.join(
            &self.hub,
            name,
            user,
            access.info.as_deref(),
            (client, present.connection),
        )?;
        present.rows.push(Row {
            channel,
            user: user.clone(),
            sent: UNSENT,
        });
        Ok(())
    }

    /// Snapshots of the channels whose members it was not sent yet, or of `all` of them.
    /// `cursor`: from where the client goes on.
    pub(super) fn snapshots(&mut self, slot: u32, all: bool, cursor: Cursor) -> Vec<u8> {
        let mut out = Vec::new();
        let origins = self.hub.origins.as_deref();
        let filter = self.replays.filters.get(&slot);
        let stream = &mut self.streams[slot as usize];
        let present = stream.identity.present_mut();
        for row in present.into_iter().flat_map(|present| &mut present.rows) {
            if !all && row.sent != UNSENT {
                continue;
            }
            let name = self.subscriptions.name(row.channel);
            // None: after a start they are not known yet. `on_settled` follows.
            let Some(snapshot) = self.app.roster.snapshot(name) else {
                continue;
            };
            row.sent = snapshot.number;
            let held = filter.map(|filter| filter.beside(stream.format, Some(row.channel)));
            let cursor = SentCursor::with(cursor, origins, held);
            out.extend(format::snapshot(
                stream.format,
                name,
                &snapshot.members,
                cursor.wire(),
            ));
            self.hub.process.metrics.snapshots.add(1);
        }
        out
    }

    /// Sends snapshots to a stream that missed changes of members, or was not sent any yet, once its socket has room.
    pub(super) fn refresh_members(&mut self, slot: u32) {
        self.tell_active(slot);
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        let present = stream.identity.present_mut();
        let lacks = |present: &&mut Present| {
            present.stale || present.rows.iter().any(|row| row.sent == UNSENT)
        };
        let Some(present) = present.filter(lacks) else {
            return;
        };
        if stream.outbox.is_some() {
            return;
        }
        let all = std::mem::take(&mut present.stale);
        let bytes = self.snapshots(slot, all, self.cursor_of(slot));
        if bytes.is_empty() {
            return;
        }
        self.send_control(slot, bytes);
    }

    /// The stream subscribed again: it is to be sent a snapshot again.
    pub(super) fn reset_snapshot(&mut self, slot: u32, name: &str) {
        let stream = &mut self.streams[slot as usize];
        let present = stream.identity.present_mut();
        for row in present.into_iter().flat_map(|present| &mut present.rows) {
            if &**self.subscriptions.name(row.channel) == name {
                row.sent = UNSENT;
            }
        }
    }

    /// Sends an ephemeral message to the subscribers of its channel. Those that replay are sent it beside their
    /// replay, one by one.
    pub(super) fn on_ephemeral(&mut self, ephemeral: &EncodedEphemeral) {
        let mut aside = Vec::new();
        let memory = self.hub.process.memory.clone();
        self.output.fanout.ephemeral(
            ephemeral,
            &memory,
            &mut self.streams,
            &self.subscriptions,
            &mut aside,
        );
        for slot in aside {
            let frame = self.streams.get(slot as usize);
            let frame = frame.map(|stream| ephemeral.form(stream.format, &memory));
            if let Some(frame) = frame {
                self.send_frame(slot, FrameKind::Ephemeral, frame);
            }
        }
    }

    /// The members of a channel are known: they are sent to every stream on it that waits for them.
    pub(super) fn on_settled(&mut self, channel: &str) {
        let members = self.subscriptions.members(channel);
        let slots: Vec<u32> = members.iter().map(|member| member.slot).collect();
        for slot in slots {
            self.refresh_members(slot);
        }
    }

    /// This worker may have missed changes of members.
    pub(super) fn mark_members_stale(&mut self) {
        self.subscribers.miss();
        for (_, stream) in &mut self.streams {
            stream.identity.miss();
        }
    }

    pub(super) fn refresh_all_members(&mut self) {
        for slot in 0..self.slots {
            self.refresh_members(slot);
        }
    }

    /// The stream unsubscribed from a channel.
    pub(super) fn leave_presence(&mut self, slot: u32, channel: u32) {
        let stream = &mut self.streams[slot as usize];
        let client = stream.client;
        let present = stream.identity.present_mut();
        let Some(present) = present else { return };
        let Some(at) = present.rows.iter().position(|row| row.channel == channel) else {
            return;
        };
        let row = present.rows.swap_remove(at);
        let name = self.subscriptions.name(channel);
        let how = Departure::Meant;
        self.app.roster.leave(
            &self.hub,
            name,
            &row.user,
            (client, present.connection),
            how,
        );
    }

    /// The stream is closed. Unless its client meant it, its users may reconnect in a moment; while the daemon drains,
    /// nobody leaves.
    pub(super) fn on_disconnect(&self, stream: &Stream, end: CloseReason) {
        if self.leaving.is_some() {
            return;
        }
        let Some(present) = stream.identity.present() else {
            return;
        };
        let how = match end {
            CloseReason::Left => Departure::Meant,
            _ => Departure::Lost,
        };
        for row in &present.rows {
            let name = self.subscriptions.name(row.channel);
            self.app.roster.leave(
                &self.hub,
                name,
                &row.user,
                (stream.client, present.connection),
                how,
            );
        }
    }
}

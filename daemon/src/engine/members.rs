//! Streams on presence channels: they join and leave with their subscriptions, get a snapshot, and then
//! what is news to them.

use std::sync::Arc;

use protocol::channel::Kind;
use protocol::format;
use shared::cursor::Cursor;

use super::Engine;
use crate::auth::authorizer::Access;
use crate::engine::identity::{Identity, Present, Row, UNTOLD};
use crate::engine::outbox::FrameKind;
use crate::engine::stream::Stream;
use crate::hub::ephemeral::EncodedEphemeral;
use crate::hub::presence::{Departure, Refused};

impl Engine {
    /// Who it is, which is this user unless another was known before.
    pub(super) fn know(&mut self, slot: u32, user: &Arc<str>) -> &mut Identity {
        let stream = &mut self.streams[slot as usize];
        stream.identity.get_or_insert_with(|| {
            Box::new(Identity {
                user: user.clone(),
                others: Box::default(),
                signed_in: None,
                present: None,
            })
        })
    }

    /// The stream subscribed a channel, already in the routes, under this access.
    pub(super) fn admit(
        &mut self,
        slot: u32,
        channel: u32,
        access: &Access,
    ) -> Result<(), Refused> {
        let Some(user) = &access.user else {
            return Ok(());
        };
        self.know(slot, user).add(user);
        let name = self.subscriptions.name(channel);
        if !Kind::of(name).is_presence() {
            return Ok(());
        }
        let members = &self.app.roster;
        let stream = &mut self.streams[slot as usize];
        let client = stream.client;
        let Some(identity) = &mut stream.identity else {
            return Ok(());
        };
        let present = identity.present.get_or_insert_with(|| {
            Box::new(Present {
                connection: members.connection(),
                stale: false,
                rows: Vec::with_capacity(1),
            })
        });
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
            told: UNTOLD,
        });
        Ok(())
    }

    /// Snapshots of the channels whose members it has not been told yet, or of all of them.
    /// `cursor`: from where a client goes on.
    pub(super) fn snapshots(&mut self, slot: u32, all: bool, cursor: Cursor) -> Vec<u8> {
        let mut out = Vec::new();
        let stream = &mut self.streams[slot as usize];
        let present = Identity::present_of(&mut stream.identity);
        for row in present.into_iter().flat_map(|present| &mut present.rows) {
            if !all && row.told != UNTOLD {
                continue;
            }
            let name = self.subscriptions.name(row.channel);
            // None: they are not known again since the start. `on_settled` follows.
            let Some(snapshot) = self.app.roster.snapshot(name) else {
                continue;
            };
            row.told = snapshot.number;
            out.extend(format::snapshot(
                stream.format,
                name,
                &snapshot.members,
                cursor,
            ));
            self.hub.metrics.snapshots.add(1);
        }
        out
    }

    /// The stream missed something and can take it now.
    pub(super) fn refresh(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        let present = Identity::present_of(&mut stream.identity);
        let Some(present) = present.filter(|present| present.stale) else {
            return;
        };
        if stream.outbox.is_some() || stream.leaving {
            return;
        }
        present.stale = false;
        let cursor = self.cursor_of(slot);
        let bytes = self.snapshots(slot, true, cursor);
        if bytes.is_empty() {
            return;
        }
        self.tell(slot, bytes);
    }

    /// It subscribed again: it is to get a snapshot again.
    pub(super) fn untell(&mut self, slot: u32, name: &str) {
        let stream = &mut self.streams[slot as usize];
        let present = Identity::present_of(&mut stream.identity);
        for row in present.into_iter().flat_map(|present| &mut present.rows) {
            if &**self.subscriptions.name(row.channel) == name {
                row.told = UNTOLD;
            }
        }
    }

    pub(super) fn on_notice(&mut self, notice: &EncodedEphemeral) {
        let mut aside = Vec::new();
        let memory = self.hub.memory.clone();
        self.fanout.notice(
            notice,
            &memory,
            &mut self.streams,
            &self.subscriptions,
            &mut aside,
        );
        for slot in aside {
            let frame = self.streams.get(slot as usize);
            let frame = frame.map(|stream| notice.form(stream.format, &memory));
            if let Some(frame) = frame {
                self.send_one(slot, FrameKind::Ephemeral, frame);
            }
        }
    }

    /// The members are known: everybody on a presence channel is told.
    pub(super) fn on_settled(&mut self) {
        self.stale();
        self.refresh_all();
    }

    /// Whatever was announced, this worker may not have heard it.
    pub(super) fn stale(&mut self) {
        for (_, stream) in &mut self.streams {
            if let Some(identity) = &mut stream.identity {
                identity.miss();
            }
        }
    }

    pub(super) fn refresh_all(&mut self) {
        for slot in 0..self.streams.capacity() as u32 {
            self.refresh(slot);
        }
    }

    /// It is no longer on one of its channels, by its own wish.
    pub(super) fn leave_presence(&mut self, slot: u32, channel: u32) {
        let stream = &mut self.streams[slot as usize];
        let client = stream.client;
        let present = Identity::present_of(&mut stream.identity);
        let Some(present) = present else { return };
        let Some(at) = present.rows.iter().position(|row| row.channel == channel) else {
            return;
        };
        let row = present.rows.swap_remove(at);
        let name = self.subscriptions.name(channel);
        let how = Departure::Unsubscribed;
        self.app.roster.leave(
            &self.hub,
            name,
            &row.user,
            (client, present.connection),
            how,
        );
    }

    /// The stream is gone. Its users may be back in a moment; and when the daemon leaves, nobody does.
    pub(super) fn on_disconnect(&self, stream: &Stream) {
        if self.leaving {
            return;
        }
        let present = stream
            .identity
            .as_ref()
            .and_then(|identity| identity.present.as_ref());
        let Some(present) = present else {
            return;
        };
        for row in &present.rows {
            let name = self.subscriptions.name(row.channel);
            self.app.roster.leave(
                &self.hub,
                name,
                &row.user,
                (stream.client, present.connection),
                Departure::Lost,
            );
        }
    }
}

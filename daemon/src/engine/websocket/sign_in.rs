//! Users that sign in over Pusher's protocol, and who watches whom.

use std::ops::ControlFlow;
use std::sync::Arc;

use protocol::pusher::signature::User;
use protocol::socket_id::Place;
use protocol::{format, pusher};

use crate::engine::identity::Identity;
use crate::engine::stream::Stream;
use crate::engine::streams::Engine;
use crate::hub::command::Command;
use crate::hub::hub::Hub;
use crate::hub::watchlists::Watcher;

impl Engine {
    /// The user of the connection: once, and again with another watchlist.
    pub(super) fn sign_in(&mut self, slot: u32, user: User) -> ControlFlow<()> {
        let id: Arc<str> = user.id.as_str().into();
        let watcher = self.watcher(slot, &self.streams[slot as usize]);
        let identity = Identity::of(&mut self.streams[slot as usize].identity, &id);
        identity.user = id.clone();
        let before = identity.signed_in.replace(Box::new(user.watchlist));
        let lists = &self.app.watchlists;
        match &before {
            None => {
                let online = pusher::encode::watchlist_events(&[&id], &[]);
                notify_watchers(&self.hub, lists.user_connected(&id), &online);
            }
            Some(users) => lists.unwatch(users, watcher),
        }
        let users = identity.signed_in.as_deref().map_or(&[][..], Vec::as_slice);
        if users.is_empty() {
            return ControlFlow::Continue(());
        }
        let (online, offline) = lists.watch(users, watcher);
        let events = pusher::encode::watchlist_events(&online, &offline);
        self.reply(slot, format::text(events))
    }

    /// The stream ends: it watches no user any more, and those who watch its user are notified.
    pub(in crate::engine) fn sign_out(&self, slot: u32, stream: &Stream) {
        let Some((identity, users)) = stream
            .identity
            .as_ref()
            .and_then(|identity| Some((identity, identity.signed_in.as_ref()?)))
        else {
            return;
        };
        let watcher = self.watcher(slot, stream);
        self.app.watchlists.unwatch(users, watcher);
        let offline = pusher::encode::watchlist_events(&[], &[&identity.user]);
        let watchers = self.app.watchlists.user_disconnected(&identity.user);
        if self.leaving.is_none() {
            notify_watchers(&self.hub, watchers, &offline);
        }
    }

    fn watcher(&self, slot: u32, stream: &Stream) -> Watcher {
        Watcher {
            socket: stream.socket,
            place: Place {
                worker: self.worker,
                slot,
            },
        }
    }
}

/// Through their workers' inboxes, also where that is this one's.
fn notify_watchers(hub: &Hub, watchers: Vec<Watcher>, text: &[u8]) {
    for Watcher { place, socket } in watchers {
        hub.inboxes[place.worker].command(Command::Tell {
            slot: place.slot,
            socket,
            bytes: format::text(text.to_vec()),
        });
    }
}

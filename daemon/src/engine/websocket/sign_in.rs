//! Users that sign in over Pusher's protocol, and who watches whom.

use std::ops::ControlFlow;
use std::sync::Arc;

use cluster::facts::{Key, Value};
use protocol::pusher::signature::User;
use protocol::socket_id::Place;
use protocol::{format, pusher};

use crate::engine::stream::Stream;
use crate::engine::streams::Engine;
use crate::hub::hub::Hub;
use crate::hub::watchlists::{Watcher, notify_watchers};

impl Engine {
    /// The user of the connection: once, and again with another watchlist.
    pub(super) fn sign_in(&mut self, slot: u32, user: User) -> ControlFlow<()> {
        let id: Arc<str> = user.id.as_str().into();
        let watcher = self.watcher(slot, &self.streams[slot as usize]);
        let identity = &mut self.streams[slot as usize].identity;
        let before = identity.sign_in(&id, user.watchlist);
        let lists = &self.app.watchlists;
        match &before {
            None => {
                let online = pusher::encode::watchlist_events(&[&id], &[]);
                let watchers =
                    lists.user_connected(&id, |online| say_online(&self.hub, &id, online));
                notify_watchers(&self.hub, watchers, &online);
            }
            Some(users) => lists.unwatch(users, watcher),
        }
        let users = identity.signed_in().map_or(&[][..], |(_, users)| users);
        if users.is_empty() {
            return ControlFlow::Continue(());
        }
        let (online, offline) = lists.watch(users, watcher);
        let events = pusher::encode::watchlist_events(&online, &offline);
        self.reply(slot, format::text(events))
    }

    /// The stream ends: it watches no user any more, and those who watch its user are notified.
    pub(in crate::engine) fn sign_out(&self, slot: u32, stream: &Stream) {
        let Some((user, users)) = stream.identity.signed_in() else {
            return;
        };
        let watcher = self.watcher(slot, stream);
        self.app.watchlists.unwatch(users, watcher);
        let offline = pusher::encode::watchlist_events(&[], &[user]);
        let say = |online| say_online(&self.hub, user, online);
        let watchers = self.app.watchlists.user_disconnected(user, say);
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

/// To the other hosts.
fn say_online(hub: &Hub, user: &str, online: bool) {
    let value = online.then_some(Value::Plain);
    hub.say(Key::User(user.into()), value);
}

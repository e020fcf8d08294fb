//! Messages between nodes: from `Peers` into the store, and what is heard there to who deals with it.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::app::peer_message::PeerMessage;
use crate::app::peers::To;
use crate::cluster::heard::heard;
use crate::cluster::node::{Ended, Node};
use crate::outbound::redis::store::Store;

/// Messages that are dealt with at one time.
const AT_ONCE: usize = 256;

impl Node {
    pub async fn send(&self, store: &impl Store) -> Ended {
        let Some(bus) = self.app.peers.bus() else {
            return std::future::pending().await;
        };
        loop {
            let message = bus.next().await;
            let to = match message.to {
                To::All => "all".to_owned(),
                To::One(node) => format!("to:{node}"),
            };
            let text = message.encode(self.own());
            if let Err(why) = store.publish(&to, &text).await {
                bus.counts.lost.add(1);
                return Err(why);
            }
            bus.counts.sent.add(1);
        }
    }

    pub async fn hear(self: &Rc<Self>, store: &impl Store) -> Ended {
        let Some(bus) = self.app.peers.bus() else {
            return std::future::pending().await;
        };
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let text = store.hear().await?;
            let Some(message) = PeerMessage::parse(&text) else {
                bus.counts.not_understood.add(1);
                continue;
            };
            if message.from == self.own() {
                continue;
            }
            let Ok(place) = places.clone().try_acquire_owned() else {
                bus.counts.lost.add(1);
                continue;
            };
            let app = self.app.clone();
            tokio::task::spawn_local(async move {
                heard(app, message).await;
                drop(place);
            });
        }
    }
}

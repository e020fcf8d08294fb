//! What other nodes say, and what is done about it: one arm for each topic.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use shared::vector::OriginId;

use crate::app::application::App;
use crate::app::peer_message::{Kind, PeerMessage};
use crate::app::{client_events, erasures, queries, revocations};
use crate::cluster::{erasing, facts};
use crate::http::beside;

/// Does what a message asks for. The future of a question ends when it was answered.
pub async fn heard(app: Arc<App>, message: PeerMessage) {
    let Some(bus) = app.peers.bus() else { return };
    bus.counts.heard.add(1);
    let PeerMessage {
        from,
        kind,
        topic,
        body,
    } = message;
    match kind {
        Kind::Answer(question) => bus.answered(question, from, body),
        Kind::Tell => {
            let known = told(&app, from, &topic, body.as_deref()).await;
            if known.is_none() {
                bus.counts.not_understood.add(1);
            }
        }
        Kind::Ask(question) => {
            let answer = asked(&app, &topic, body.as_deref()).await;
            if answer.is_none() {
                bus.counts.not_understood.add(1);
            }
            bus.answer(from, question, &topic, answer);
        }
    }
}

/// None: it is not understood.
async fn told(app: &Arc<App>, from: OriginId, topic: &str, body: Option<&RawValue>) -> Option<()> {
    match topic {
        facts::TOPIC => facts::told(app, from, read(body)?),
        client_events::TOPIC => client_events::told(app, read(body)?)?,
        erasures::TOPIC => erasing::told(app, read(body)?).await?,
        revocations::TOPIC => revocations::told(app, &read(body)?),
        // A newer askrd's.
        _ => return None,
    }
    Some(())
}

/// The answer. None: the question is not understood.
async fn asked(app: &Arc<App>, topic: &str, body: Option<&RawValue>) -> Option<Box<RawValue>> {
    match topic {
        // Whether messages get there and back.
        "echo" => body.map(ToOwned::to_owned),
        facts::TOPIC => write(&facts::asked(app, &read(body)?)?),
        queries::CHANNELS => write(&queries::channels_page(app, read(body)?).await),
        queries::CONNECTIONS => write(&app.quota.used()),
        beside::TOPIC => write(&beside::asked(app, read(body)?).await),
        queries::END => write(&queries::end_asked(app, read(body)?).await?),
        // A newer askrd's.
        _ => None,
    }
}

fn read<T: DeserializeOwned>(body: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(body?.get()).ok()
}

fn write(answer: &impl Serialize) -> Option<Box<RawValue>> {
    to_raw_value(answer).ok()
}

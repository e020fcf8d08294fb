//! What is erased on several hosts: told to all, and kept in the store for those that start or come back later. It only
//! ever grows, so that it does no harm to hear of it twice, or late.
//!
//! In the hash `erased` each node has a field of its own for each channel, `NODE CHANNEL`, with the vector up to which it is
//! erased: nobody overwrites what somebody else erased.

use serde::{Deserialize, Serialize};
use shared::rules;
use shared::vector::{OriginId, Vector};

use crate::app::application::App;
use crate::app::peers::To;

pub const TOPIC: &str = "erased";
/// The hash in the store.
pub const HASH: &str = "erased";

#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    channel: String,
    vector: String,
}

impl Told {
    /// None: it is nothing that can be.
    pub fn read(self) -> Option<(Box<str>, Vector)> {
        rules::channel(self.channel.as_bytes()).ok()?;
        let vector = Vector::parse(self.vector.as_bytes())?;
        Some((self.channel.into(), vector))
    }
}

/// It was erased here: the other hosts are notified as soon as the store has it.
pub fn keep(app: &App, channel: &str, vector: &Vector) {
    let field = field(app, channel).into_bytes();
    app.peers.keep(HASH, field, vector.to_string().into_bytes());
}

/// The store has it: who connects from now on finds it there, and who is connected is notified.
pub fn tell(app: &App, channel: &str, vector: &Vector) {
    let told = Told {
        channel: channel.to_owned(),
        vector: vector.to_string(),
    };
    app.peers.tell(To::All, TOPIC, &told);
}

/// The field that this node has for it.
pub fn field(app: &App, channel: &str) -> String {
    let own = OriginId::from(app.hub.segments.epoch());
    format!("{own} {channel}")
}

/// What a field and its value in the store say. None: nothing that can be.
pub fn read(field: &[u8], value: &[u8]) -> Option<(Box<str>, Vector)> {
    let (node, channel) = std::str::from_utf8(field).ok()?.split_once(' ')?;
    OriginId::parse(node.as_bytes())?;
    rules::channel(channel.as_bytes()).ok()?;
    Some((channel.into(), Vector::parse(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_says_is_a_nodes_channel_and_a_vector() {
        let vector: Vector = [(OriginId([1; 5]), 7)].into_iter().collect();
        let text = vector.to_string();
        let read = |field: &str| read(field.as_bytes(), text.as_bytes());
        assert_eq!(read("0101010101 a b"), Some(("a b".into(), vector)));
        for field in ["", "a", "0101 a", "0101010101 ", "0101010101 askr:x"] {
            assert_eq!(read(field), None, "{field}");
        }
        assert_eq!(super::read(b"0101010101 a", b"7"), None);
        let told = |channel: &str, vector: &str| Told {
            channel: channel.into(),
            vector: vector.into(),
        };
        assert!(told("a b", &text).read().is_some());
        assert!(told("askr:x", &text).read().is_none() && told("a", "7").read().is_none());
    }
}

//! A message between two nodes of an application, as JSON.
//!
//! ```text
//! {"from":"0a1b2c3d4e","kind":"tell","topic":"disconnect","body":…}
//! {"from":"0a1b2c3d4e","kind":{"ask":7},"topic":"channels","body":…}
//! {"from":"0a1b2c3d4e","kind":{"answer":7},"topic":"channels","body":…}      without body: it does not know
//! ```
//!
//! Whoever may write to the store can say anything here: a message is as hostile as any other input.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::vector::OriginId;

/// The most bytes of a message; one that is longer is neither sent nor read.
pub const MAX_MESSAGE: usize = 1 << 20;
/// The most bytes of a topic.
const MAX_TOPIC: usize = 64;

#[derive(Debug, Clone)]
pub struct PeerMessage {
    pub from: OriginId,
    pub kind: Kind,
    pub topic: String,
    pub body: Option<Box<RawValue>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nobody waits for an answer.
    Tell,
    /// A question, by its number.
    Ask(u64),
    /// The answer to the question of that number.
    Answer(u64),
}

#[derive(Serialize, Deserialize)]
struct Text {
    from: String,
    kind: Kind,
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
}

impl PeerMessage {
    /// None if it is none, or too long.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_MESSAGE {
            return None;
        }
        let text: Text = serde_json::from_slice(text).ok()?;
        let from = OriginId::parse(text.from.as_bytes())?;
        (text.topic.len() <= MAX_TOPIC).then_some(Self {
            from,
            kind: text.kind,
            topic: text.topic,
            body: text.body,
        })
    }

    pub fn encode(self) -> String {
        let text = Text {
            from: self.from.to_string(),
            kind: self.kind,
            topic: self.topic,
            body: self.body,
        };
        serde_json::to_string(&text).expect("it has only text, numbers and JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Tell),
            any::<u64>().prop_map(Kind::Ask),
            any::<u64>().prop_map(Kind::Answer),
        ]
    }

    proptest! {
        #[test]
        fn every_message_round_trips(from: [u8; 5], kind in kinds(), topic in "[a-z.]{0,64}", body: Option<Vec<String>>) {
            let raw = body.map(|body| serde_json::value::to_raw_value(&body).unwrap());
            let message = PeerMessage { from: OriginId(from), kind, topic: topic.clone(), body: raw.clone() };
            let read = PeerMessage::parse(message.encode().as_bytes()).unwrap();
            prop_assert_eq!((read.from, read.kind, read.topic), (OriginId(from), kind, topic));
            prop_assert_eq!(read.body.map(|raw| raw.get().to_owned()), raw.map(|raw| raw.get().to_owned()));
        }

        #[test]
        fn anything_is_read_or_refused(text: Vec<u8>) {
            let _ = PeerMessage::parse(&text);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let long = format!(
            r#"{{"from":"0a1b2c3d4e","kind":"tell","topic":"t","body":"{}"}}"#,
            "x".repeat(MAX_MESSAGE)
        );
        for text in [
            "",
            "1",
            r#"{"from":"0a1b2c3d4","kind":"tell","topic":"t"}"#,
            r#"{"from":"0A1B2C3D4E","kind":"tell","topic":"t"}"#,
            r#"{"from":"0a1b2c3d4e","kind":"shout","topic":"t"}"#,
            r#"{"from":"0a1b2c3d4e","kind":{"ask":-1},"topic":"t"}"#,
            &long,
        ] {
            assert!(PeerMessage::parse(text.as_bytes()).is_none(), "{text:.60}");
        }
    }
}

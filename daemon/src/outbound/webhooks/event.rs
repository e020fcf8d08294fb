//! The events of webhooks, and their encoding. Pure.

use std::sync::Arc;

use serde::Serialize;

/// Names of all events, as Pusher calls them.
pub const NAMES: [&str; 7] = [
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "client_event",
    "cache_miss",
    "subscription_count",
];

/// Something that happened on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub channel: Arc<str>,
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The first subscriber subscribed.
    ChannelOccupied,
    /// The last subscriber left.
    ChannelVacated,
    MemberAdded {
        user: Arc<str>,
    },
    MemberRemoved {
        user: Arc<str>,
    },
    /// A subscriber sent a client event. `data`: the text if it is a JSON string, else the JSON.
    ClientEvent {
        event: Arc<str>,
        data: Arc<str>,
        socket: Arc<str>,
        user: Option<Arc<str>>,
    },
    /// A new subscriber of a cache channel found no last event.
    CacheMiss,
    SubscriptionCount(u64),
}

impl Event {
    /// An event of `channel`.
    pub fn new(channel: impl Into<Arc<str>>, what: What) -> Self {
        Self {
            channel: channel.into(),
            what,
        }
    }

    /// One of [`NAMES`].
    pub fn name(&self) -> &'static str {
        match self.what {
            What::ChannelOccupied => NAMES[0],
            What::ChannelVacated => NAMES[1],
            What::MemberAdded { .. } => NAMES[2],
            What::MemberRemoved { .. } => NAMES[3],
            What::ClientEvent { .. } => NAMES[4],
            What::CacheMiss => NAMES[5],
            What::SubscriptionCount(_) => NAMES[6],
        }
    }

    /// The bytes of memory that it occupies, approximately.
    pub fn bytes(&self) -> usize {
        let more = match &self.what {
            What::MemberAdded { user } | What::MemberRemoved { user } => user.len(),
            What::ClientEvent { event, data, .. } => event.len() + data.len(),
            _ => 0,
        };
        128 + self.channel.len() + more
    }
}

#[derive(Serialize)]
struct Body<'a> {
    time_ms: u64,
    events: Vec<Fields<'a>>,
}

#[derive(Default, Serialize)]
struct Fields<'a> {
    name: &'a str,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_count: Option<u64>,
}

impl<'a> From<&'a Event> for Fields<'a> {
    fn from(event: &'a Event) -> Self {
        let fields = Self {
            name: event.name(),
            channel: &event.channel,
            ..Self::default()
        };
        match &event.what {
            What::ChannelOccupied | What::ChannelVacated | What::CacheMiss => fields,
            What::MemberAdded { user } | What::MemberRemoved { user } => Self {
                user_id: Some(user),
                ..fields
            },
            What::ClientEvent {
                event,
                data,
                socket,
                user,
            } => Self {
                event: Some(event),
                data: Some(data),
                socket_id: Some(socket),
                user_id: user.as_deref(),
                ..fields
            },
            What::SubscriptionCount(count) => Self {
                subscription_count: Some(*count),
                ..fields
            },
        }
    }
}

/// The body of a request. `time_ms`: milliseconds since 1970.
pub fn body<'a>(time_ms: u64, events: impl IntoIterator<Item = &'a Event>) -> Vec<u8> {
    let events = events.into_iter().map(Fields::from).collect();
    let body = serde_json::to_vec(&Body { time_ms, events });
    body.expect("texts and numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_as_pusher_writes_them() {
        let user = || Arc::from("7");
        let client = |user| What::ClientEvent {
            event: "client-typing".into(),
            data: r#"{"a":1}"#.into(),
            socket: "1.2".into(),
            user,
        };
        for (what, expected) in [
            (
                What::ChannelOccupied,
                r#"{"name":"channel_occupied","channel":"c"}"#,
            ),
            (
                What::ChannelVacated,
                r#"{"name":"channel_vacated","channel":"c"}"#,
            ),
            (
                What::MemberAdded { user: user() },
                r#"{"name":"member_added","channel":"c","user_id":"7"}"#,
            ),
            (
                What::MemberRemoved { user: user() },
                r#"{"name":"member_removed","channel":"c","user_id":"7"}"#,
            ),
            (
                client(Some(user())),
                r#"{"name":"client_event","channel":"c","event":"client-typing","data":"{\"a\":1}","socket_id":"1.2","user_id":"7"}"#,
            ),
            (
                client(None),
                r#"{"name":"client_event","channel":"c","event":"client-typing","data":"{\"a\":1}","socket_id":"1.2"}"#,
            ),
            (What::CacheMiss, r#"{"name":"cache_miss","channel":"c"}"#),
            (
                What::SubscriptionCount(3),
                r#"{"name":"subscription_count","channel":"c","subscription_count":3}"#,
            ),
        ] {
            let event = Event::new("c", what);
            let text = String::from_utf8(body(5, [&event, &event])).unwrap();
            assert_eq!(
                text,
                format!(r#"{{"time_ms":5,"events":[{expected},{expected}]}}"#)
            );
            assert!(expected.contains(&format!("\"name\":\"{}\"", event.name())));
        }
    }
}

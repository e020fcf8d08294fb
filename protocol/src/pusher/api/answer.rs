//! The response bodies of the HTTP API, as JSON. Pure.
//!
//! Where there are no channels, `channels` is an empty object, never a list: pusher-http-php accesses its
//! members.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

/// What is known of a channel; only the attributes that were requested are set.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ChannelInfo {
    /// Whether it has subscribers, or members who may be back in a moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occupied: Option<bool>,
    /// Members of a presence channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_count: Option<u64>,
    /// Subscribed connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cached>,
}

/// The last event of a cache channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cached {
    pub data: String,
    /// Seconds until it is dropped.
    pub ttl: u64,
}

/// The response to `terminate_connections`, and to `events` where no info was requested.
pub fn done() -> Vec<u8> {
    b"{}".to_vec()
}

/// The response to `channels`, and to `events` with info: each channel with the attributes requested.
pub fn channels<'a>(channels: impl Iterator<Item = (&'a str, ChannelInfo)> + Clone) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Answer<M: Serialize> {
        channels: M,
    }
    let channels = Map(channels);
    text(&Answer { channels })
}

/// The response to `batch_events`: one item for each event, in the order of the batch. Where no info was
/// requested, the response is [`done`].
pub fn batch(infos: &[ChannelInfo]) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Answer<'a> {
        batch: &'a [ChannelInfo],
    }
    text(&Answer { batch: infos })
}

/// The response to `channels/{name}`.
pub fn channel(info: &ChannelInfo) -> Vec<u8> {
    text(info)
}

/// The response to `channels/{name}/users`.
pub fn users<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let users: Vec<_> = ids.map(|id| json!({ "id": id })).collect();
    text(&json!({ "users": users }))
}

/// The response to `connections`, as Reverb's.
pub fn connections(count: u64) -> Vec<u8> {
    text(&json!({ "connections": count }))
}

/// The response to `/up`, as Reverb's.
pub fn up() -> Vec<u8> {
    br#"{"health":"OK"}"#.to_vec()
}

/// The same while it should be sent no viewers.
pub fn down() -> Vec<u8> {
    br#"{"health":"not ready"}"#.to_vec()
}

struct Map<I>(I);

impl<'a, I: Iterator<Item = (&'a str, ChannelInfo)> + Clone> Serialize for Map<I> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (channel, info) in self.0.clone() {
            map.serialize_entry(channel, &info)?;
        }
        map.end()
    }
}

fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers serialize")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_channels_are_an_object() {
        assert_eq!(channels(std::iter::empty()), br#"{"channels":{}}"#);
    }

    #[test]
    fn only_the_attributes_requested_are_included() {
        let both = ChannelInfo {
            occupied: None,
            user_count: Some(2),
            subscription_count: Some(3),
            cache: None,
        };
        assert_eq!(
            channels(
                [
                    ("presence-a", both.clone()),
                    ("b\"", ChannelInfo::default())
                ]
                .into_iter()
            ),
            br#"{"channels":{"presence-a":{"user_count":2,"subscription_count":3},"b\"":{}}}"#
        );
        assert_eq!(
            batch(&[both.clone(), ChannelInfo::default()]),
            br#"{"batch":[{"user_count":2,"subscription_count":3},{}]}"#
        );
        let occupied = |occupied, info: &ChannelInfo| {
            channel(&ChannelInfo {
                occupied: Some(occupied),
                ..info.clone()
            })
        };
        assert_eq!(
            occupied(true, &both),
            br#"{"occupied":true,"user_count":2,"subscription_count":3}"#
        );
        let cached = ChannelInfo {
            cache: Some(Cached {
                data: "{\"a\":1}".into(),
                ttl: 60,
            }),
            ..ChannelInfo::default()
        };
        assert_eq!(
            occupied(false, &cached),
            br#"{"occupied":false,"cache":{"data":"{\"a\":1}","ttl":60}}"#
        );
    }

    #[test]
    fn the_other_responses() {
        assert_eq!(done(), b"{}");
        assert_eq!(
            users(["1", "a\""].into_iter()),
            br#"{"users":[{"id":"1"},{"id":"a\""}]}"#
        );
        assert_eq!(users(std::iter::empty()), br#"{"users":[]}"#);
        assert_eq!(connections(7), br#"{"connections":7}"#);
        assert_eq!(up(), br#"{"health":"OK"}"#);
    }
}

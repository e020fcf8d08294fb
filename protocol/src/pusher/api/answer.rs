//! The answers of the HTTP API, as JSON. Pure.
//!
//! Where there are no channels, `channels` is an empty object, never a list: pusher-http-php asks for its
//! members.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

/// What is told of a channel: what was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ChannelInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cached>,
}

/// The last event of a cache channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cached {
    pub data: String,
    /// Seconds for which it is still kept.
    pub ttl: u64,
}

/// To `events` and `terminate_connections`, where nothing was asked for.
pub fn done() -> Vec<u8> {
    b"{}".to_vec()
}

/// To `channels`, and to `events` with info: each channel with what was asked for.
pub fn channels<'a>(channels: impl Iterator<Item = (&'a str, ChannelInfo)> + Clone) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Answer<M: Serialize> {
        channels: M,
    }
    let channels = Map(channels);
    text(&Answer { channels })
}

/// To `batch_events`: one for each event, in their order. `done()` where nothing was asked for.
pub fn batch(told: &[ChannelInfo]) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Answer<'a> {
        batch: &'a [ChannelInfo],
    }
    text(&Answer { batch: told })
}

/// To `channels/{name}`.
pub fn channel(occupied: bool, told: &ChannelInfo) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Answer<'a> {
        occupied: bool,
        #[serde(flatten)]
        told: &'a ChannelInfo,
    }
    text(&Answer { occupied, told })
}

/// To `channels/{name}/users`.
pub fn users<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let users: Vec<_> = ids.map(|id| json!({ "id": id })).collect();
    text(&json!({ "users": users }))
}

/// To `connections`, as Reverb answers.
pub fn connections(count: u64) -> Vec<u8> {
    text(&json!({ "connections": count }))
}

/// To `/up`, as Reverb answers.
pub fn up() -> Vec<u8> {
    br#"{"health":"OK"}"#.to_vec()
}

struct Map<I>(I);

impl<'a, I: Iterator<Item = (&'a str, ChannelInfo)> + Clone> Serialize for Map<I> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (channel, told) in self.0.clone() {
            map.serialize_entry(channel, &told)?;
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
    fn what_was_asked_for_is_told_and_nothing_else() {
        let both = ChannelInfo {
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
        assert_eq!(
            channel(true, &both),
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
            channel(false, &cached),
            br#"{"occupied":false,"cache":{"data":"{\"a\":1}","ttl":60}}"#
        );
    }

    #[test]
    fn the_other_answers() {
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

//! The members of a presence channel as subscribers see them, and the JSON about them that SSE, the plain
//! protocol and the control socket share.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

/// A user on a channel, listed once however many connections it has. Serialized as `{"id":…,"info":…}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// 1 to 128 bytes without control characters.
    pub id: Arc<str>,
    /// JSON on one line, at most 1,024 bytes.
    #[serde(serialize_with = "as_json")]
    pub info: Option<Arc<str>>,
}

/// `{"channel":…,"count":…,"members":[…]}`: all members of a channel.
#[derive(Serialize)]
pub struct Snapshot<'a> {
    channel: &'a str,
    count: usize,
    members: &'a [Member],
}

impl<'a> Snapshot<'a> {
    pub fn new(channel: &'a str, members: &'a [Member]) -> Self {
        Self {
            channel,
            count: members.len(),
            members,
        }
    }
}

/// `{"channel":…,"id":…,"info":…}`: a user joined a channel.
#[derive(Serialize)]
pub struct Joined<'a> {
    pub channel: &'a str,
    pub id: &'a str,
    /// JSON.
    #[serde(serialize_with = "as_json")]
    pub info: Option<&'a str>,
}

/// `{"channel":…,"id":…}`: a user left a channel.
#[derive(Serialize)]
pub struct Left<'a> {
    pub channel: &'a str,
    pub id: &'a str,
}

/// `{"channel":…,"count":…}`: the number of a channel's subscribers.
#[derive(Serialize)]
pub struct Count<'a> {
    pub channel: &'a str,
    pub count: u32,
}

/// The info was checked when it was received; should it not be JSON after all, it is sent as null.
fn as_json<S: serde::Serializer>(info: &Option<impl AsRef<str>>, to: S) -> Result<S::Ok, S::Error> {
    let raw = info
        .as_ref()
        .map(|info| serde_json::from_str(info.as_ref()));
    let raw: Option<&RawValue> = raw.and_then(Result::ok);
    raw.serialize(to)
}

//! One member of a presence channel, as subscribers see it.

use std::sync::Arc;

/// A user on a channel, listed once however many connections it has. Serialized as `{"id":…,"info":…}`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Member {
    /// 1 to 128 bytes without control characters.
    pub id: Arc<str>,
    /// JSON on one line, at most 1,024 bytes.
    #[serde(serialize_with = "as_json")]
    pub info: Option<Arc<str>>,
}

fn as_json<S: serde::Serializer>(info: &Option<Arc<str>>, to: S) -> Result<S::Ok, S::Error> {
    let raw = |info: &Arc<str>| serde_json::value::RawValue::from_string(info.to_string()).ok();
    serde::Serialize::serialize(&info.as_ref().and_then(raw), to)
}

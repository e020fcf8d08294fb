//! One member of a presence channel, as subscribers see it.

use std::sync::Arc;

/// A user, once, however many connections it has.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Member {
    pub id: Arc<str>,
    #[serde(serialize_with = "as_json")]
    pub info: Option<Arc<str>>,
}

fn as_json<S: serde::Serializer>(info: &Option<Arc<str>>, to: S) -> Result<S::Ok, S::Error> {
    let raw = |info: &Arc<str>| serde_json::value::RawValue::from_string(info.to_string()).ok();
    serde::Serialize::serialize(&info.as_ref().and_then(raw), to)
}

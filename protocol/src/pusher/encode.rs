//! The server's messages of Pusher's protocol, as JSON text: the payload of a text frame. Pure.
//!
//! ```text
//! {"event":…,"channel":…,"id":"3f9a1c22d07e-32768","data":"…"}        id: with recovery only
//! ```
//!
//! `data` is a string that contains JSON, as Pusher sends it, except for `pusher:error` (an object) and client
//! events (the value that the client sent). Every text is serialized here or is JSON that was checked when it
//! was received, so nothing a publisher or a client writes can end its string.

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::value::RawValue;

use crate::gap::Gap;
use crate::member::Member;
use crate::wire_cursor::WireCursor;

/// Pusher's name for an event without one.
const UNNAMED: &str = "message";

/// The members of a server's message, in the order in which they are written.
#[derive(Serialize)]
struct Message<'a, D: Serialize> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    id: Option<WireCursor<'a>>,
    data: D,
}

/// An event of the ring. `id`: the cursor, for clients that asked for recovery.
pub fn event(name: Option<&str>, channel: &str, data: &str, id: Option<WireCursor<'_>>) -> Vec<u8> {
    text(Message {
        id,
        ..on_channel(channel, name.unwrap_or(UNNAMED), data)
    })
}

/// A client event. `data`: JSON, which is forwarded unchanged. `user`: the sender's id, on presence channels.
/// It is not in the ring, so it has no cursor.
pub fn client_event(name: &str, channel: &str, data: &RawValue, user: Option<&str>) -> Vec<u8> {
    text(Message {
        user_id: user,
        ..on_channel(channel, name, data)
    })
}

/// The first message of a connection. `activity`: seconds of silence after which the client pings; at least 1
/// is sent, since clients treat 0 as an error.
pub fn connection_established(socket: &str, activity: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Data<'a> {
        socket_id: &'a str,
        activity_timeout: u64,
    }
    let data = Data {
        socket_id: socket,
        activity_timeout: activity.max(1),
    };
    connection_message("pusher:connection_established", &json(&data))
}

/// A channel without members was subscribed to. `id`: the cursor that its events follow, for clients that
/// asked for recovery.
pub fn subscription_succeeded(channel: &str, id: Option<WireCursor<'_>>) -> Vec<u8> {
    succeeded(channel, "{}", id)
}

/// A presence channel was subscribed to. `members`: every member, the new one included. `id`: as for
/// [`subscription_succeeded`].
pub fn presence_succeeded(
    channel: &str,
    members: &[Member],
    id: Option<WireCursor<'_>>,
) -> Vec<u8> {
    let (mut ids, mut hash) = (String::new(), String::new());
    for (number, member) in members.iter().enumerate() {
        let user = json(&*member.id);
        let comma = if number == 0 { "" } else { "," };
        ids.extend([comma, &user]);
        let info = member.info.as_deref().unwrap_or("null");
        hash.extend([comma, &user, ":", info]);
    }
    let count = members.len();
    let data = format!(r#"{{"presence":{{"ids":[{ids}],"hash":{{{hash}}},"count":{count}}}}}"#);
    succeeded(channel, &data, id)
}

/// A user's first connection joined. `info`: JSON.
pub fn member_added(channel: &str, user: &str, info: Option<&str>) -> Vec<u8> {
    let info = info.unwrap_or("null");
    let data = format!(r#"{{"user_id":{},"user_info":{info}}}"#, json(user));
    text(on_channel(channel, "pusher_internal:member_added", data))
}

/// A user's last connection left.
pub fn member_removed(channel: &str, user: &str) -> Vec<u8> {
    let data = format!(r#"{{"user_id":{}}}"#, json(user));
    text(on_channel(channel, "pusher_internal:member_removed", data))
}

/// The number of the channel's subscribers.
pub fn subscription_count(channel: &str, count: u64) -> Vec<u8> {
    let data = format!(r#"{{"subscription_count":{count}}}"#);
    text(on_channel(
        channel,
        "pusher_internal:subscription_count",
        data,
    ))
}

/// A subscription was refused. `kind`: the error's type. `status`: the HTTP status that an application's
/// authorization endpoint would have answered with.
pub fn subscription_error(channel: &str, kind: &str, reason: &str, status: u16) -> Vec<u8> {
    #[derive(Serialize)]
    struct Data<'a> {
        r#type: &'a str,
        error: &'a str,
        status: u16,
    }
    let data = Data {
        r#type: kind,
        error: reason,
        status,
    };
    text(on_channel(
        channel,
        "pusher:subscription_error",
        json(&data),
    ))
}

/// A cache channel has no last event. As Pusher and Reverb send it, without data.
pub fn cache_miss(channel: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Miss<'a> {
        event: &'a str,
        channel: &'a str,
    }
    let event = "pusher:cache_miss";
    text(Miss { event, channel })
}

/// An error. `code`: None where Pusher's protocol defines none. The data is an object, as documented: pysher
/// finds no code in a string.
pub fn error(code: Option<u16>, message: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Data<'a> {
        code: Option<u16>,
        message: &'a str,
    }
    text(without_channel("pusher:error", Data { code, message }))
}

/// A ping. `id`: keeps the cursor of an idle client recent, for clients that asked for recovery.
pub fn ping(id: Option<WireCursor<'_>>) -> Vec<u8> {
    text(Message {
        id,
        ..without_channel("pusher:ping", "{}")
    })
}

/// The answer to a client's ping.
pub fn pong() -> Vec<u8> {
    connection_message("pusher:pong", "{}")
}

/// The user signed in. `user_data`: as the client sent it.
pub fn signin_success(user_data: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Data<'a> {
        user_data: &'a str,
    }
    connection_message("pusher:signin_success", &json(&Data { user_data }))
}

/// Which users of a watchlist are online and which are offline. An empty list is left out.
pub fn watchlist_events(online: &[&str], offline: &[&str]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Change<'a> {
        name: &'a str,
        user_ids: &'a [&'a str],
    }
    #[derive(Serialize)]
    struct Data<'a> {
        events: Vec<Change<'a>>,
    }
    let change = |name, user_ids| Change { name, user_ids };
    let all = [change("online", online), change("offline", offline)];
    let events = all.into_iter().filter(|c| !c.user_ids.is_empty()).collect();
    connection_message("pusher_internal:watchlist_events", &json(&Data { events }))
}

/// A token that opened a channel expires at `expires`, in seconds since 1970, and the connection ends with it. Askr's own.
pub fn expiring(expires: u64) -> Vec<u8> {
    let data = format!(r#"{{"expires":{expires}}}"#);
    connection_message("askr:expiring", &data)
}

/// A gap of `channel`, up to and including `id`. None: of all channels of the connection together.
pub fn gap(channel: Option<&str>, gap: &Gap, id: WireCursor<'_>) -> Vec<u8> {
    text(Message {
        id: Some(id),
        channel,
        ..without_channel("askr:gap", gap.to_json())
    })
}

fn succeeded(channel: &str, data: &str, id: Option<WireCursor<'_>>) -> Vec<u8> {
    text(Message {
        id,
        ..on_channel(channel, "pusher_internal:subscription_succeeded", data)
    })
}

fn connection_message(event: &str, data: &str) -> Vec<u8> {
    text(without_channel(event, data))
}

fn on_channel<'a, D: Serialize>(channel: &'a str, event: &'a str, data: D) -> Message<'a, D> {
    Message {
        channel: Some(channel),
        ..without_channel(event, data)
    }
}

fn without_channel<D: Serialize>(event: &str, data: D) -> Message<'_, D> {
    Message {
        event,
        channel: None,
        user_id: None,
        id: None,
        data,
    }
}

fn text(message: impl Serialize) -> Vec<u8> {
    serde_json::to_vec(&message).expect("strings, numbers and checked JSON serialize")
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("strings and numbers serialize")
}

fn shown<S: Serializer>(cursor: &Option<WireCursor<'_>>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(cursor.as_ref().expect("none is left out"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::wire_cursor as cursor;

    fn read(text: Vec<u8>) -> Value {
        serde_json::from_slice(&text).unwrap()
    }

    /// The message with its data read, which must be a string.
    fn inside(text: Vec<u8>) -> Value {
        let mut message = read(text);
        let data = message["data"]
            .as_str()
            .expect("data is a string")
            .to_owned();
        message["data"] = serde_json::from_str(&data).unwrap();
        message
    }

    #[test]
    fn events_with_and_without_a_position() {
        assert_eq!(
            event(Some("E"), "c", r#"{"a":1}"#, None),
            br#"{"event":"E","channel":"c","data":"{\"a\":1}"}"#
        );
        assert_eq!(
            event(None, "c", "x", Some(cursor(7))),
            br#"{"event":"message","channel":"c","id":"0a0b0c0d0e0f-7","data":"x"}"#
        );
        let data = RawValue::from_string(r#"{"a": 1e400}"#.into()).unwrap();
        assert_eq!(
            client_event("client-x", "presence-c", &data, Some("7")),
            br#"{"event":"client-x","channel":"presence-c","user_id":"7","data":{"a": 1e400}}"#
        );
    }

    #[test]
    fn messages_about_the_connection() {
        assert_eq!(
            connection_established("12.34", 120),
            br#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"12.34\",\"activity_timeout\":120}"}"#
        );
        assert_eq!(
            inside(connection_established("1.2", 0))["data"]["activity_timeout"],
            1
        );
        assert_eq!(pong(), br#"{"event":"pusher:pong","data":"{}"}"#);
        assert_eq!(ping(None), br#"{"event":"pusher:ping","data":"{}"}"#);
        assert_eq!(read(ping(Some(cursor(9))))["id"], "0a0b0c0d0e0f-9");
        assert_eq!(
            read(error(Some(4009), "no")),
            json!({"event": "pusher:error", "data": {"code": 4009, "message": "no"}})
        );
        assert_eq!(read(error(None, "no"))["data"]["code"], Value::Null);
    }

    #[test]
    fn messages_about_a_channel() {
        assert_eq!(
            inside(subscription_succeeded("c", None)),
            json!({"event": "pusher_internal:subscription_succeeded", "channel": "c", "data": {}})
        );
        assert_eq!(
            inside(subscription_count("c", 12))["data"],
            json!({"subscription_count": 12})
        );
        assert_eq!(
            inside(subscription_error("private-c", "AuthError", "no", 401)),
            json!({"event": "pusher:subscription_error", "channel": "private-c",
                   "data": {"type": "AuthError", "error": "no", "status": 401}})
        );
        assert_eq!(
            cache_miss("cache-c"),
            br#"{"event":"pusher:cache_miss","channel":"cache-c"}"#
        );
        let lost = inside(gap(Some("c"), &Gap::exact(3), cursor(8)));
        assert_eq!(
            (lost["event"].as_str(), &lost["data"], lost["id"].as_str()),
            (
                Some("askr:gap"),
                &json!({"lost": 3, "at_most": 3}),
                Some("0a0b0c0d0e0f-8")
            )
        );
    }

    #[test]
    fn messages_about_members() {
        let empty = presence_succeeded("presence-c", &[], None);
        let nobody = json!({"presence": {"ids": [], "hash": {}, "count": 0}});
        assert_eq!(inside(empty)["data"], nobody);
        let two = [("a\"b", Some(r#"{"n":1}"#)), ("2", None)].map(|(id, info)| Member {
            id: id.into(),
            info: info.map(Into::into),
        });
        let got = inside(presence_succeeded("presence-c", &two, Some(cursor(3))));
        assert_eq!(
            got["data"]["presence"],
            json!({"ids": ["a\"b", "2"], "hash": {"a\"b": {"n": 1}, "2": null}, "count": 2})
        );
        assert_eq!(got["id"], "0a0b0c0d0e0f-3");
        let added = inside(member_added("presence-c", "7", Some(r#"{"n":1}"#)));
        assert_eq!(
            added["data"],
            json!({"user_id": "7", "user_info": {"n": 1}})
        );
        let removed = inside(member_removed("presence-c", "7"));
        assert_eq!(removed["data"], json!({"user_id": "7"}));
        assert_eq!(removed["event"], "pusher_internal:member_removed");
    }

    #[test]
    fn messages_about_users() {
        let got = inside(signin_success(r#"{"id":"7"}"#));
        assert_eq!(got["data"], json!({"user_data": "{\"id\":\"7\"}"}));
        let got = inside(watchlist_events(&["1", "2"], &["3"]));
        assert_eq!(
            got["data"]["events"],
            json!([{"name": "online", "user_ids": ["1", "2"]}, {"name": "offline", "user_ids": ["3"]}])
        );
        let one = inside(watchlist_events(&[], &["3"]));
        assert_eq!(one["data"]["events"].as_array().unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_escapes_its_json_string(name in ".{1,20}", channel in ".{1,20}", data in ".{0,60}", seq in 0u64..1 << 62) {
            let got = read(event(Some(&name), &channel, &data, Some(cursor(seq))));
            prop_assert_eq!(got, json!({
                "event": name, "channel": channel, "data": data, "id": cursor(seq).to_string(),
            }));
            let got = inside(subscription_error(&channel, "T", &data, 400));
            prop_assert_eq!(&got["data"]["error"], &json!(data));
            let got = inside(member_added(&channel, &name, None));
            prop_assert_eq!(&got["data"]["user_id"], &json!(name));
        }
    }
}

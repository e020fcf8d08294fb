//! Pusher's signatures: of a subscription, a user, a request to the HTTP API, a webhook.
//!
//! Each is an HMAC-SHA256, in hexadecimal digits, of a text:
//!
//! | | text |
//! |---|---|
//! | subscription | `socket_id:channel`, on presence channels `socket_id:channel:channel_data` |
//! | user | `socket_id::user::user_data` |
//! | request | `METHOD\npath\nk=v&…`, keys in lower case and sorted, values percent-decoded |
//! | webhook | the body |
//!
//! No text of one kind can also be one of another kind, or a token: tokens have no colon, requests have line
//! breaks, channels signed here have no colon (nor do Pusher's), and the text of a user has two colons where a
//! channel would begin.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::secret::Secret;

use crate::channel::Kind;
use crate::json::UserId;
use crate::user_bounds::{TooLong, Unfit, UserBounds};
use crate::{json, mac, query};

/// Seconds by which a request's `auth_timestamp` may differ from the clock, either way. Pusher's value.
pub const WINDOW: u64 = 600;
/// The most parameters of a request.
const MAX_PARAMETERS: usize = 64;

/// An application's key, and the secrets that sign for it, newest first: more than one during a rotation.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub key: String,
    pub secrets: Vec<Secret>,
}

/// A user, as signed by the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Within the application's [`UserBounds`], as is the info; without control characters.
    pub id: String,
    /// JSON on one line.
    pub info: Option<String>,
    /// Ids of the users whose online state is sent to this user (signin only).
    pub watchlist: Vec<String>,
}

/// Why a signature is refused. `Display` is a phrase for the client; it repeats nothing that was sent but a
/// parameter's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("auth must be the key, a colon and 64 hexadecimal digits")]
    Malformed,
    #[error("the key is not this application's")]
    Key,
    #[error("the signature is wrong")]
    Signature,
    #[error("this channel cannot be signed for")]
    Channel,
    #[error("the signed data is not what it must be")]
    Data,
    /// The signature is right.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The request's query.
    #[error(transparent)]
    Query(#[from] query::Malformed),
    #[error("a parameter is there twice, or there are too many")]
    Parameters,
    #[error("auth_version must be 1.0")]
    Version,
    #[error("auth_timestamp is more than 600 seconds off")]
    Timestamp,
    #[error("body_md5 is not that of the body")]
    Body,
}

/// An API request as it was received: the path without its query, both still percent-encoded.
#[derive(Debug, Clone, Copy)]
pub struct ApiRequest<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub body: &'a [u8],
}

#[derive(Deserialize)]
struct ChannelData<'a> {
    user_id: UserId,
    #[serde(borrow)]
    user_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct UserData<'a> {
    id: UserId,
    #[serde(borrow)]
    user_info: Option<&'a RawValue>,
    #[serde(default)]
    watchlist: Vec<UserId>,
}

impl Credentials {
    /// Verifies the signature `auth` of a subscription by this socket. Returns the user on presence channels.
    /// `data`: `channel_data`, on presence channels.
    ///
    /// # Errors
    /// If the signature is wrong, the data is malformed or over the bounds, or the channel needs no signature.
    pub fn verify_subscription(
        &self,
        socket: &str,
        channel: &str,
        data: Option<&str>,
        auth: &str,
        bounds: UserBounds,
    ) -> Result<Option<User>, Refused> {
        let kind = Kind::of(channel);
        if !kind.needs_authorization() || channel.contains(':') || socket.contains(':') {
            return Err(Refused::Channel);
        }
        // With data on another channel, the end of the channel's name could be passed off as data.
        if kind.is_presence() != data.is_some() {
            return Err(Refused::Data);
        }
        let mut text: Vec<&[u8]> = vec![socket.as_bytes(), b":", channel.as_bytes()];
        if let Some(data) = data {
            text.extend([&b":"[..], data.as_bytes()]);
        }
        self.check(auth, &text)?;
        data.map(|data| {
            let data: ChannelData = read(data, bounds.data(), bounds)?;
            user(data.user_id, data.user_info, Vec::new(), bounds)
        })
        .transpose()
    }

    /// Verifies the signature `auth` of a signin by this socket. `data`: `user_data`.
    ///
    /// # Errors
    /// If the signature is wrong, or the data is malformed or over the bounds.
    pub fn verify_signin(
        &self,
        socket: &str,
        data: &str,
        auth: &str,
        bounds: UserBounds,
    ) -> Result<User, Refused> {
        if socket.contains(':') {
            return Err(Refused::Malformed);
        }
        self.check(auth, &[socket.as_bytes(), b"::user::", data.as_bytes()])?;
        // And a watchlist of 100 ids.
        let max = (16 << 10).max(bounds.data() + 100 * (bounds.id + 8));
        let data: UserData = read(data, max, bounds)?;
        user(data.id, data.user_info, data.watchlist, bounds)
    }

    /// Verifies a request to the HTTP API at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// If the signature is wrong, the timestamp is more than [`WINDOW`] off, or a parameter is missing, wrong or
    /// repeated.
    pub fn verify_request(&self, request: &ApiRequest, now: u64) -> Result<(), Refused> {
        let mut parameters = parameters(request.query)?;
        let mut take = |name: &str| parameters.remove(name);
        let signature = take("auth_signature").ok_or(Refused::Signature)?;
        let get = |name: &str| parameters.get(name).map(String::as_str);
        if get("auth_key") != Some(&self.key) {
            return Err(Refused::Key);
        }
        if get("auth_version") != Some("1.0") {
            return Err(Refused::Version);
        }
        let text = parameters
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join("&");
        let text = format!("{}\n{}\n{text}", request.method, request.path);
        let code = mac::from_hex(&signature).ok_or(Refused::Signature)?;
        self.check_code(&code, &[text.as_bytes()])?;

        // Digits alone: `parse` would also accept a plus sign.
        let time = get("auth_timestamp").filter(|time| time.bytes().all(|b| b.is_ascii_digit()));
        let time: u64 = time
            .and_then(|t| t.parse().ok())
            .ok_or(Refused::Timestamp)?;
        if time.abs_diff(now) > WINDOW {
            return Err(Refused::Timestamp);
        }
        let digest = get("body_md5").map(mac::from_hex::<16>);
        match (digest, request.body.is_empty()) {
            (None, true) => Ok(()),
            (Some(Some(digest)), _) if digest[..] == Md5::digest(request.body)[..] => Ok(()),
            _ => Err(Refused::Body),
        }
    }

    /// The signature of a webhook's body by the newest secret, in hexadecimal digits. None without a secret.
    pub fn sign(&self, body: &[u8]) -> Option<String> {
        let newest = self.secrets.first()?;
        Some(mac::hex(&mac::sign(newest.bytes(), &[body])))
    }

    fn check(&self, auth: &str, text: &[&[u8]]) -> Result<(), Refused> {
        let (key, code) = auth.rsplit_once(':').ok_or(Refused::Malformed)?;
        let code = mac::from_hex(code).ok_or(Refused::Malformed)?;
        // The key is public, as every page has it, so it need not be compared in constant time.
        if key != self.key {
            return Err(Refused::Key);
        }
        self.check_code(&code, text)
    }

    fn check_code(&self, code: &[u8; mac::BYTES], text: &[&[u8]]) -> Result<(), Refused> {
        let by = |secret: &Secret| mac::verify(secret.bytes(), text, code);
        match self.secrets.iter().any(by) {
            true => Ok(()),
            false => Err(Refused::Signature),
        }
    }
}

/// What is longer than `max` is so for its info: ids alone do not fill it.
fn read<'a, T: Deserialize<'a>>(
    json: &'a str,
    max: usize,
    bounds: UserBounds,
) -> Result<T, Refused> {
    match json.len() <= max {
        true => json::object(json).map_err(|_| Refused::Data),
        false => Err(TooLong::Info(bounds.info).into()),
    }
}

fn user(
    id: UserId,
    info: Option<&RawValue>,
    watchlist: Vec<UserId>,
    bounds: UserBounds,
) -> Result<User, Refused> {
    let unfit = |why| match why {
        Unfit::TooLong(what) => Refused::TooLong(what),
        Unfit::Malformed => Refused::Data,
    };
    let text = |id| bounds.id(id).map_err(unfit);
    let info = info.map(|info| bounds.info(info).map_err(unfit));
    let info = info.transpose()?;
    Ok(User {
        id: text(id)?,
        info,
        watchlist: watchlist.into_iter().map(text).collect::<Result<_, _>>()?,
    })
}

/// Keys in lower case, values percent-decoded, in the order of the keys.
fn parameters(query: &str) -> Result<BTreeMap<String, String>, Refused> {
    let mut all = BTreeMap::new();
    for parameter in query::parameters(query) {
        let parameter = parameter?;
        let key = parameter.name.to_lowercase();
        let value = parameter.text()?;
        if all.len() == MAX_PARAMETERS || all.insert(key, value).is_some() {
            return Err(Refused::Parameters);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: UserBounds = UserBounds {
        id: 128,
        info: 1024,
    };

    /// The credentials of Pusher's documentation.
    fn documented() -> Credentials {
        Credentials {
            key: "278d425bdf160c739803".into(),
            secrets: vec![Secret::new("7ad3773142a6692b25b8").unwrap()],
        }
    }

    fn auth(text: &str) -> String {
        let app = documented();
        format!("{}:{}", app.key, app.sign(text.as_bytes()).unwrap())
    }

    const PRIVATE: &str =
        "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
    const PRESENCE: &str =
        "278d425bdf160c739803:31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80";
    const MEMBER: &str = r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#;

    #[test]
    fn the_documented_subscriptions_are_accepted() {
        let app = documented();
        assert_eq!(
            app.verify_subscription("1234.1234", "private-foobar", None, PRIVATE, BOUNDS),
            Ok(None)
        );
        let user = app
            .verify_subscription(
                "1234.1234",
                "presence-foobar",
                Some(MEMBER),
                PRESENCE,
                BOUNDS,
            )
            .unwrap()
            .unwrap();
        assert_eq!(user.id, "10");
        assert_eq!(user.info.as_deref(), Some(r#"{"name":"Mr. Channels"}"#));
    }

    #[test]
    fn the_documented_user_is_accepted() {
        let auth =
            "278d425bdf160c739803:4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
        let user = documented()
            .verify_signin("1234.1234", r#"{"id":"12345"}"#, auth, BOUNDS)
            .unwrap();
        assert_eq!((user.id.as_str(), user.info), ("12345", None));
        assert_eq!(
            documented().verify_signin("1234.1235", r#"{"id":"12345"}"#, auth, BOUNDS),
            Err(Refused::Signature)
        );
        assert_eq!(
            documented().verify_signin("1234.1234", r#"{"id":"12346"}"#, auth, BOUNDS),
            Err(Refused::Signature)
        );
    }

    #[test]
    fn another_socket_channel_or_data_is_refused() {
        let app = documented();
        let (signature, data) = (Err(Refused::Signature), Err(Refused::Data));
        let wrong = |socket, channel, data, auth: &str| {
            app.verify_subscription(socket, channel, data, auth, BOUNDS)
        };
        assert_eq!(
            wrong("1234.1235", "private-foobar", None, PRIVATE),
            signature
        );
        assert_eq!(
            wrong("1234.1234", "private-foobaz", None, PRIVATE),
            signature
        );
        assert_eq!(
            wrong(
                "1234.1234",
                "presence-foobar",
                Some("{\"user_id\":11}"),
                PRESENCE
            ),
            signature
        );
        assert_eq!(wrong("1234.1234", "presence-foobar", None, PRESENCE), data);
        assert_eq!(
            wrong("1234.1234", "private-foobar", Some(MEMBER), PRIVATE),
            data
        );
        assert_eq!(
            wrong("1234.1234", "foobar", None, &auth("1234.1234:foobar")),
            Err(Refused::Channel)
        );
        // The end of a channel's name is not accepted as data, nor a channel as a user.
        assert_eq!(
            wrong("1.1", "private-a:b", None, &auth("1.1:private-a:b")),
            Err(Refused::Channel)
        );
        assert_eq!(
            wrong("1.1", "private-a", Some("b"), &auth("1.1:private-a:b")),
            data
        );
        assert_eq!(
            wrong("1.1", ":user::{}", None, &auth("1.1::user::{}")),
            Err(Refused::Channel)
        );
        assert_eq!(
            wrong(
                "1.1:private-x",
                "private-a",
                None,
                &auth("1.1:private-x:private-a")
            ),
            Err(Refused::Channel)
        );
        let other_key = PRIVATE.replace("278d", "378d");
        assert_eq!(
            wrong("1234.1234", "private-foobar", None, &other_key),
            Err(Refused::Key)
        );
        for bad in [
            "",
            ":",
            "x",
            &PRIVATE[..84],
            &PRIVATE[21..],
            &format!("{PRIVATE}0"),
        ] {
            assert!(
                wrong("1234.1234", "private-foobar", None, bad).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn members_are_bounded_and_have_an_id() {
        let member = |data: &str| {
            documented().verify_subscription(
                "1.1",
                "presence-a",
                Some(data),
                &auth(&format!("1.1:presence-a:{data}")),
                BOUNDS,
            )
        };
        let info = |bytes| format!(r#"{{"user_id":"7","user_info":"{}"}}"#, "x".repeat(bytes));
        assert!(member(&info(1022)).is_ok());
        for bad in [
            "",
            "{}",
            "[7]",
            "7",
            r#"{"user_id":1.5}"#,
            r#"{"user_id":null}"#,
            r#"{"user_id":""}"#,
            r#"{"user_id":"7","user_id":"8"}"#,
        ] {
            assert_eq!(member(bad), Err(Refused::Data), "{bad}");
        }
        for long in [info(1023), info(4000)] {
            assert_eq!(
                member(&long),
                Err(TooLong::Info(1024).into()),
                "not as if the signature were wrong"
            );
        }
        let id = |bytes| format!(r#"{{"user_id":"{}"}}"#, "x".repeat(bytes));
        assert!(member(&id(128)).is_ok());
        assert_eq!(member(&id(129)), Err(TooLong::Id(128).into()));
        let wrong = documented().verify_subscription(
            "1.1",
            "presence-a",
            Some(&info(4000)),
            PRESENCE,
            BOUNDS,
        );
        assert_eq!(wrong, Err(Refused::Signature), "the signature comes first");
    }

    const BODY: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    const QUERY: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&\
        body_md5=ec365a775a4cd0599faeb73354201b6f&\
        auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";

    fn request(method: &str, path: &str, query: &str, body: &str, now: u64) -> Result<(), Refused> {
        let request = ApiRequest {
            method,
            path,
            query,
            body: body.as_bytes(),
        };
        documented().verify_request(&request, now)
    }

    #[test]
    fn the_documented_request_is_accepted() {
        let at = |now| request("POST", "/apps/3/events", QUERY, BODY, now);
        assert_eq!(at(1_353_088_179), Ok(()));
        assert_eq!((at(1_353_088_779), at(1_353_087_579)), (Ok(()), Ok(())));
        assert_eq!(at(1_353_088_780), Err(Refused::Timestamp));
        assert_eq!(at(1_353_087_578), Err(Refused::Timestamp));
        let shuffled = QUERY.split('&').rev().collect::<Vec<_>>().join("&");
        let shuffled = shuffled.replace("auth_key", "AUTH%5Fkey");
        assert_eq!(
            request("POST", "/apps/3/events", &shuffled, BODY, 1_353_088_179),
            Ok(())
        );
    }

    #[test]
    fn another_method_path_query_or_body_is_refused() {
        let at =
            |method, path, query: &str, body| request(method, path, query, body, 1_353_088_179);
        let signature = Err(Refused::Signature);
        assert_eq!(at("GET", "/apps/3/events", QUERY, BODY), signature);
        assert_eq!(at("POST", "/apps/4/events", QUERY, BODY), signature);
        assert_eq!(
            at("POST", "/apps/3/events", &format!("{QUERY}&info=x"), BODY),
            signature
        );
        assert_eq!(
            at("POST", "/apps/3/events", QUERY, "{}"),
            Err(Refused::Body)
        );
        assert_eq!(at("POST", "/apps/3/events", QUERY, ""), Err(Refused::Body));
        let without = QUERY.split_once("&auth_signature").unwrap().0;
        assert_eq!(at("POST", "/apps/3/events", without, BODY), signature);
        assert_eq!(
            at(
                "POST",
                "/apps/3/events",
                &format!("{QUERY}&auth_key=x"),
                BODY
            ),
            Err(Refused::Parameters)
        );
        for malformed in ["info=%ff", "info=%zz", "%ff=1", "%=1"] {
            let why = at(
                "POST",
                "/apps/3/events",
                &format!("{QUERY}&{malformed}"),
                BODY,
            );
            assert!(
                matches!(why, Err(Refused::Query(_))),
                "{malformed}: {why:?}"
            );
        }
        assert_eq!(
            at(
                "POST",
                "/apps/3/events",
                &QUERY.replace("=1.0", "=2.0"),
                BODY
            ),
            Err(Refused::Version)
        );
        assert_eq!(
            at(
                "POST",
                "/apps/3/events",
                &QUERY.replace("=278", "=378"),
                BODY
            ),
            Err(Refused::Key)
        );
    }

    /// The signature is right, but the request is one that no library sends.
    #[test]
    fn a_body_must_be_signed_and_a_time_must_be_digits() {
        let signed = |query: &str, body: &str| {
            let query = format!("auth_key=278d425bdf160c739803&{query}");
            let code = documented()
                .sign(format!("POST\n/x\n{query}").as_bytes())
                .unwrap();
            request(
                "POST",
                "/x",
                &format!("{query}&auth_signature={code}"),
                body,
                1000,
            )
        };
        assert_eq!(signed("auth_timestamp=1000&auth_version=1.0", ""), Ok(()));
        assert_eq!(
            signed("auth_timestamp=1000&auth_version=1.0", "x"),
            Err(Refused::Body)
        );
        for bad in ["", "-1", "1e3", "99999999999999999999"] {
            assert_eq!(
                signed(&format!("auth_timestamp={bad}&auth_version=1.0"), ""),
                Err(Refused::Timestamp),
                "{bad}"
            );
        }
        assert_eq!(signed("auth_version=1.0", ""), Err(Refused::Timestamp));
    }

    #[test]
    fn secrets_rotate() {
        let mut app = documented();
        app.secrets
            .insert(0, Secret::new("aaaaaaaaaaaaaaaaaaaaaaaa").unwrap());
        assert_eq!(
            app.verify_subscription("1234.1234", "private-foobar", None, PRIVATE, BOUNDS),
            Ok(None)
        );
    }

    proptest! {
        #[test]
        fn no_query_and_no_data_panics(query in "[ -~é]{0,80}", auth in ".{0,80}", data in ".{0,40}") {
            prop_assert!(request("POST", "/x", &query, &data, 1000).is_err());
            prop_assert!(documented().verify_subscription("1.1", "presence-x", Some(&data), &auth, BOUNDS).is_err());
            prop_assert!(documented().verify_signin("1.1", &data, &auth, BOUNDS).is_err());
        }
    }
}

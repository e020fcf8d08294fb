//! Active subscriptions: their paths, and the documents that describe them.
//!
//! ```text
//! P/subscriptions                                 all
//! P/subscriptions/{type}/{match}[/{subscriber}]   of one matcher; one of them          1.0
//! P/subscriptions/{topic}[/{subscriber}]          the same                             0.x
//! ```

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Version;
use super::matcher::Kind;
use crate::sse;

/// What PHP's `rawurlencode` leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

const CONTEXT: &str = "https://mercure.rocks/";

/// The last part of the collection's path.
pub const COLLECTION: &str = "subscriptions";

/// One matcher of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Subscription<'a> {
    pub kind: Kind,
    /// The matcher's.
    pub text: &'a str,
    /// `urn:uuid:…`.
    pub subscriber: &'a str,
    /// JSON on one line.
    pub payload: Option<&'a str>,
    pub active: bool,
}

/// Which subscriptions are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    All,
    Matcher(Kind, String),
    One(Kind, String, String),
}

impl Target {
    /// `rest`: of a path, behind `P/subscriptions`. None: there is no such path.
    pub fn parse(rest: &str, legacy: bool) -> Option<Self> {
        if rest.is_empty() {
            return Some(Self::All);
        }
        let is_escape = |rest: &str| {
            let digits = rest.as_bytes().get(..2);
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        let decode = |part: &str| {
            if !part.split('%').skip(1).all(is_escape) {
                return None;
            }
            let text = percent_decode_str(part).decode_utf8().ok()?;
            (!text.is_empty()).then(|| text.into_owned())
        };
        let parts: Option<Vec<String>> = rest.strip_prefix('/')?.split('/').map(decode).collect();
        let mut parts = parts?.into_iter();
        let kind = match parts.as_slice().first()?.as_str() {
            "exact" => Some(Kind::Exact),
            "urlpattern" => Some(Kind::UrlPattern),
            _ => None,
        };
        let kind = match (kind, parts.len()) {
            (Some(kind), 2 | 3) => {
                parts.next();
                kind
            }
            (_, 1 | 2) if legacy => Kind::Topic,
            _ => return None,
        };
        let matcher = parts.next()?;
        Some(match parts.next() {
            None => Self::Matcher(kind, matcher),
            Some(subscriber) => Self::One(kind, matcher, subscriber),
        })
    }

    /// Whether a subscription is one of them. A text of `*` or without variables may be of either kind.
    pub fn has(&self, subscription: &Subscription<'_>) -> bool {
        let is = |kind: Kind, text: &str| subscription.kind == kind && subscription.text == text;
        match self {
            Self::All => true,
            Self::Matcher(kind, text) => is(*kind, text),
            Self::One(kind, text, subscriber) => {
                is(*kind, text) && subscription.subscriber == subscriber
            }
        }
    }
}

/// As a part of a path.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

impl Subscription<'_> {
    /// Its topic, and its id. `path`: the hub's.
    pub fn id(&self, path: &str) -> String {
        let (text, subscriber) = (encode(self.text), encode(self.subscriber));
        match self.kind.version() {
            Version::One => {
                let kind = self.kind.name();
                format!("{path}/{COLLECTION}/{kind}/{text}/{subscriber}")
            }
            Version::Legacy => format!("{path}/{COLLECTION}/{text}/{subscriber}"),
        }
    }

    /// The document, in the version of the matcher.
    pub fn document(&self, path: &str) -> String {
        json(&self.shown(path, true))
    }

    /// The same, as one of a collection.
    pub fn item(&self, path: &str) -> String {
        json(&self.shown(path, false))
    }

    /// The event that says so.
    pub fn event(&self, path: &str) -> Vec<u8> {
        let document = self.document(path);
        match self.kind.version() {
            Version::One => sse::named(super::publish::OWN_TYPE, &document),
            Version::Legacy => sse::message(document.as_bytes()),
        }
    }

    fn shown(&self, path: &str, alone: bool) -> Shown<'_> {
        let legacy = self.kind.version() == Version::Legacy;
        Shown {
            context: (legacy && alone).then_some(CONTEXT),
            id: self.id(path),
            r#type: if legacy {
                "Subscription"
            } else {
                "subscription"
            },
            match_type: (!legacy).then(|| self.kind.name()),
            r#match: (!legacy).then_some(self.text),
            topic: legacy.then_some(self.text),
            subscriber: self.subscriber,
            active: self.active,
            // It was JSON when it was read.
            payload: self
                .payload
                .and_then(|json| serde_json::from_str(json).ok()),
        }
    }
}

/// The document of several. `id`: the path that was asked for. `last`: the id of the last event before it. `items`: of
/// [`Subscription::item`].
pub fn collection(version: Version, id: &str, last: &str, items: &[String]) -> String {
    let items = items
        .iter()
        .map(|item| serde_json::from_str(item).unwrap_or(RawValue::NULL));
    let legacy = version == Version::Legacy;
    json(&Collection {
        context: legacy.then_some(CONTEXT),
        id,
        r#type: if legacy {
            "Subscriptions"
        } else {
            "subscriptions"
        },
        last_event_id: legacy.then_some(last),
        subscriptions: items.collect(),
    })
}

/// The type of these documents.
pub fn content_type(version: Version) -> &'static str {
    match version {
        Version::One => "application/json",
        Version::Legacy => "application/ld+json",
    }
}

#[derive(Serialize)]
struct Collection<'a> {
    #[serde(rename = "@context", skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
    id: &'a str,
    r#type: &'a str,
    #[serde(rename = "lastEventID", skip_serializing_if = "Option::is_none")]
    last_event_id: Option<&'a str>,
    subscriptions: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "@context", skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
    id: String,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#match: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    subscriber: &'a str,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
}

fn json(value: &impl Serialize) -> String {
    // Strings and text that is JSON already: this cannot fail.
    serde_json::to_string(value).expect("strings serialize")
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: &str = "/.well-known/mercure";

    fn subscription<'a>(kind: Kind, text: &'a str, payload: Option<&'a str>) -> Subscription<'a> {
        Subscription {
            kind,
            text,
            subscriber: "urn:uuid:1",
            payload,
            active: true,
        }
    }

    #[test]
    fn a_document_is_as_laravel_reads_it() {
        let channel = "https://laravel.alt/echo/channel/presence-room.3";
        let ada = r#"{"user_id":"7","user_info":{"name":"Ada"}}"#;
        let one = subscription(Kind::Exact, channel, Some(ada));
        let id = "/.well-known/mercure/subscriptions/exact/\
                  https%3A%2F%2Flaravel.alt%2Fecho%2Fchannel%2Fpresence-room.3/urn%3Auuid%3A1";
        assert_eq!(one.id(P), id);
        let document = format!(
            r#"{{"id":"{id}","type":"subscription","match_type":"exact","match":"https://laravel.alt/echo/channel/presence-room.3","subscriber":"urn:uuid:1","active":true,"payload":{ada}}}"#
        );
        assert_eq!(one.document(P), document);
        let event = String::from_utf8(one.event(P)).unwrap();
        assert_eq!(event, format!("event: mercure\ndata: {document}\n\n"));
        let all = collection(Version::One, "/x", "urn:1", &[one.item(P)]);
        assert_eq!(
            all,
            format!(r#"{{"id":"/x","type":"subscriptions","subscriptions":[{document}]}}"#)
        );
    }

    #[test]
    fn the_older_version_has_documents_of_its_own() {
        let one = Subscription {
            active: false,
            ..subscription(Kind::Topic, "/b/{id}", None)
        };
        let id = "/.well-known/mercure/subscriptions/%2Fb%2F%7Bid%7D/urn%3Auuid%3A1";
        let rest = format!(
            r#""id":"{id}","type":"Subscription","topic":"/b/{{id}}","subscriber":"urn:uuid:1","active":false}}"#
        );
        let document = format!(r#"{{"@context":"https://mercure.rocks/",{rest}"#);
        assert_eq!(one.document(P), document);
        let event = String::from_utf8(one.event(P)).unwrap();
        assert_eq!(event, format!("data: {document}\n\n"));
        assert_eq!(
            collection(Version::Legacy, "/x", "urn:1", &[one.item(P)]),
            format!(
                r#"{{"@context":"https://mercure.rocks/","id":"/x","type":"Subscriptions","lastEventID":"urn:1","subscriptions":[{{{rest}]}}"#
            )
        );
    }

    #[test]
    fn a_path_says_which_are_asked_for() {
        let target = |rest| Target::parse(rest, true);
        let some = |kind, text: &str| Some(Target::Matcher(kind, text.to_owned()));
        assert_eq!(target(""), Some(Target::All));
        assert_eq!(target("/exact/a%2Fb"), some(Kind::Exact, "a/b"));
        assert_eq!(
            target("/urlpattern/%2Fb%2F%3Aid"),
            some(Kind::UrlPattern, "/b/:id")
        );
        assert_eq!(target("/a%2fb"), some(Kind::Topic, "a/b"));
        assert_eq!(target("/exact"), some(Kind::Topic, "exact"));
        let one =
            |kind, text: &str| Some(Target::One(kind, text.to_owned(), "urn:uuid:1".to_owned()));
        assert_eq!(target("/exact/a/urn%3Auuid%3A1"), one(Kind::Exact, "a"));
        assert_eq!(target("/a/urn:uuid:1"), one(Kind::Topic, "a"));
        for none in [
            "x",
            "/",
            "/exact/",
            "/exact//a",
            "/a/b/c",
            "/exact/a/b/c",
            "/exact/%FF",
            "/exact/%",
            "/exact/a%4",
            "/exact/%zz%41",
        ] {
            assert_eq!(target(none), None, "{none}");
        }
        assert_eq!(Target::parse("/a", false), None);
        assert_eq!(Target::parse("/exact", false), None);
        assert_eq!(Target::parse("/exact/a", false), some(Kind::Exact, "a"));
    }

    #[test]
    fn a_target_has_the_subscriptions_of_its_matcher() {
        let exact = subscription(Kind::Exact, "a", None);
        let topic = subscription(Kind::Topic, "a", None);
        let has = |rest: &str, one: &Subscription<'_>| Target::parse(rest, true).unwrap().has(one);
        assert!(has("", &exact) && has("/exact/a", &exact) && has("/exact/a/urn:uuid:1", &exact));
        assert!(!has("/exact/b", &exact) && !has("/exact/a/urn:uuid:2", &exact));
        assert!(!has("/a", &exact) && has("/a", &topic));
    }
}

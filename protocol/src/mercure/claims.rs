//! What a token says, as JSON, and the grants that it comes to. Whether its signature is right, and whose it is, is seen
//! to elsewhere; nothing here is believed before.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

use super::grants::{Grant, Grants};
use super::hub_url::HubUrl;
use super::matcher::{Kind, Matcher};
use super::{MAX_GRANTS, MAX_MATCHERS, Version};
use crate::json::{object, object_from_slice, one_line};

/// The type of the authorization details that are for a hub.
pub const DETAIL: &str = "https://mercure.rocks/authorization-detail";

/// Why a token is refused. `Display` is one line that repeats nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the token's claims are not what they must be")]
    Form,
    #[error("the token has no exp")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token is not for this hub")]
    Audience,
    #[error("one of the token's authorization details is not what it must be")]
    Detail,
    #[error("one of the token's topics is not what it must be")]
    Topic,
    #[error("the token has more than 100 topics")]
    TooManyTopics,
    #[error("the token's topics take too much memory")]
    TooMuch,
}

/// What is read of a token before its signature is verified, to know by which keys that is to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Unverified {
    pub version: Version,
    pub issuer: Option<String>,
}

impl Unverified {
    /// `typ`: of the header. A token is of version 1.0 by its type, or if it has authorization details, and then by nothing
    /// else.
    ///
    /// # Errors
    /// If the payload is not a JSON object.
    pub fn read(typ: Option<&str>, payload: &[u8]) -> Result<Self, Refused> {
        let claims: Early<'_> = object_from_slice(payload).map_err(|_| Refused::Form)?;
        let is_one = typ.is_some_and(is_access_token) || claims.authorization_details.is_some();
        let issuer = claims.iss;
        Ok(Self {
            version: if is_one {
                Version::One
            } else {
                Version::Legacy
            },
            issuer: issuer.and_then(|iss| serde_json::from_str(iss.get()).ok()),
        })
    }
}

/// The claims by which a token's version and keys are known; each may be there once, as all that are read.
#[derive(Deserialize)]
struct Early<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    iss: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    authorization_details: Option<&'a RawValue>,
}

/// What is there, null too.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Whether a token's type is that of an access token (RFC 9068).
pub fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == "at+jwt"
}

/// When a token is read: seconds since 1970, and the seconds by which clocks may differ.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub seconds: u64,
    pub leeway: u64,
}

#[derive(Deserialize)]
struct One<'a> {
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(borrow)]
    authorization_details: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Detail<'a> {
    actions: Vec<String>,
    topics: Vec<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Type {
    r#type: String,
}

#[derive(Deserialize)]
struct TopicClaim {
    r#match: String,
    match_type: Option<String>,
}

/// The grants of a token of version 1.0.
///
/// # Errors
/// Why it is refused, as a whole.
pub fn one(payload: &[u8], hub: &HubUrl, now: Now) -> Result<Grants, Refused> {
    let claims: One<'_> = object_from_slice(payload).map_err(|_| Refused::Form)?;
    let expires = check_times(claims.exp, claims.nbf, now)?;
    let expires = Some(expires.ok_or(Refused::NoExpiry)?);
    let is_for_hub = match &claims.aud {
        None => false,
        Some(Audience::One(aud)) => aud == hub.as_str(),
        Some(Audience::Several(all)) => all.iter().any(|aud| aud == hub.as_str()),
    };
    if !is_for_hub {
        return Err(Refused::Audience);
    }
    let mut grants = Grants {
        expires,
        ..Grants::none()
    };
    let mut topics = 0;
    let mut left = MAX_GRANTS;
    for detail in claims.authorization_details.unwrap_or_default() {
        let typ: Type = object(detail.get()).map_err(|_| Refused::Detail)?;
        if typ.r#type == DETAIL {
            add_detail(&mut grants, (&mut topics, &mut left), detail.get(), hub)?;
        }
    }
    Ok(grants)
}

/// Topics that a token has so far, and bytes that further ones may take.
fn add_detail(
    grants: &mut Grants,
    (topics, left): (&mut usize, &mut usize),
    detail: &str,
    hub: &HubUrl,
) -> Result<(), Refused> {
    let detail: Detail<'_> = object(detail).map_err(|_| Refused::Detail)?;
    if detail.actions.is_empty() || detail.topics.is_empty() {
        return Err(Refused::Detail);
    }
    *topics += detail.topics.len();
    if *topics > MAX_MATCHERS {
        return Err(Refused::TooManyTopics);
    }
    let may = |action: &str| detail.actions.iter().any(|known| known == action);
    let payload: Option<Arc<str>> = detail.payload.map(|json| one_line(json.get()).into());
    for topic in &detail.topics {
        let topic: TopicClaim = object(topic.get()).map_err(|_| Refused::Detail)?;
        let kind = match topic.match_type.as_deref() {
            None | Some("exact") => Kind::Exact,
            Some("urlpattern") => Kind::UrlPattern,
            Some(_) => return Err(Refused::Detail),
        };
        let matcher = Matcher::parse(kind, &topic.r#match, hub).map_err(|_| Refused::Detail)?;
        take(left, &matcher)?;
        if may("publish") {
            grants.publish.push(matcher.clone());
        }
        if may("subscribe") {
            let payload = payload.clone();
            grants.subscribe.push(Grant { matcher, payload });
        }
    }
    Ok(())
}

/// Counts what a matcher takes.
fn take(left: &mut usize, matcher: &Matcher) -> Result<(), Refused> {
    let rest = left.checked_sub(matcher.memory());
    *left = rest.ok_or(Refused::TooMuch)?;
    Ok(())
}

#[derive(Deserialize)]
struct Legacy<'a> {
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(borrow)]
    mercure: Option<LegacyGrants<'a>>,
    #[serde(borrow, rename = "https://mercure.rocks/")]
    namespaced: Option<LegacyGrants<'a>>,
}

#[derive(Deserialize, Default)]
struct LegacyGrants<'a> {
    publish: Option<Vec<String>>,
    subscribe: Option<Vec<String>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// The grants of a token of version 0.x.
///
/// # Errors
/// Why it is refused, as a whole.
pub fn legacy(payload: &[u8], hub: &HubUrl, now: Now) -> Result<Grants, Refused> {
    let claims: Legacy<'_> = object_from_slice(payload).map_err(|_| Refused::Form)?;
    let expires = check_times(claims.exp, claims.nbf, now)?;
    let granted = claims.namespaced.or(claims.mercure).unwrap_or_default();
    let payload: Option<Arc<str>> = granted.payload.map(|json| one_line(json.get()).into());
    let (publish, subscribe) = (
        granted.publish.unwrap_or_default(),
        granted.subscribe.unwrap_or_default(),
    );
    if publish.len() + subscribe.len() > MAX_MATCHERS {
        return Err(Refused::TooManyTopics);
    }
    let mut left = MAX_GRANTS;
    let mut parse = |text: &String| {
        let matcher = Matcher::parse(Kind::Topic, text, hub).map_err(|_| Refused::Topic)?;
        take(&mut left, &matcher)?;
        Ok(matcher)
    };
    let publish: Vec<Matcher> = publish.iter().map(&mut parse).collect::<Result<_, _>>()?;
    let subscribe = subscribe.iter().map(|text| {
        Ok(Grant {
            matcher: parse(text)?,
            payload: payload.clone(),
        })
    });
    Ok(Grants {
        version: Version::Legacy,
        publish,
        subscribe: subscribe.collect::<Result<_, _>>()?,
        expires,
    })
}

/// When the token expires. Times may have fractions (RFC 7519, "NumericDate").
fn check_times(exp: Option<f64>, nbf: Option<f64>, now: Now) -> Result<Option<u64>, Refused> {
    if nbf.is_some_and(|nbf| nbf > (now.seconds + now.leeway) as f64) {
        return Err(Refused::NotYet);
    }
    // A time before 1970 becomes zero, one beyond all bounds the greatest number.
    let expires = exp.map(|exp| exp as u64);
    match expires.is_some_and(|expires| expires <= now.seconds) {
        true => Err(Refused::Expired),
        false => Ok(expires),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HUB: &str = "https://example.com/.well-known/mercure";
    const NOW: Now = Now {
        seconds: 1000,
        leeway: 10,
    };

    fn hub() -> HubUrl {
        HubUrl::parse(HUB).unwrap()
    }

    fn details(details: &str) -> Result<Grants, Refused> {
        let claims = format!(r#"{{"aud":"{HUB}","exp":2000,"authorization_details":{details}}}"#);
        one(claims.as_bytes(), &hub(), NOW)
    }

    fn detail(rest: &str) -> Result<Grants, Refused> {
        details(&format!(r#"[{{"type":"{DETAIL}",{rest}}}]"#))
    }

    fn texts<'a>(matchers: impl Iterator<Item = &'a Matcher>) -> Vec<(Kind, &'a str)> {
        matchers.map(|m| (m.kind(), &**m.text())).collect()
    }

    #[test]
    fn details_become_grants() {
        let grants = details(&format!(
            r#"[{{"type":"other","actions":7}},
                {{"type":"{DETAIL}","actions":["publish","fly"],"topics":[{{"match":"a","x":1}}]}},
                {{"type":"{DETAIL}","actions":["subscribe","publish"],"payload":{{"a":
                  1}},"topics":[{{"match":"/b/:id","match_type":"urlpattern"}},{{"match":"*","match_type":"exact"}}]}},
                {{"type":"{DETAIL}","actions":["fly"],"topics":[{{"match":"c"}}]}}]"#
        ))
        .unwrap();
        let publish = [
            (Kind::Exact, "a"),
            (Kind::UrlPattern, "/b/:id"),
            (Kind::Exact, "*"),
        ];
        assert_eq!(texts(grants.publish.iter()), publish);
        let subscribe = grants.subscribe.iter().map(|grant| &grant.matcher);
        assert_eq!(texts(subscribe), publish[1..]);
        let payload = grants.subscribe[0].payload.as_deref();
        assert!(payload.is_some_and(|json| json.starts_with(r#"{"a":"#) && !json.contains('\n')));
        assert_eq!((grants.version, grants.expires), (Version::One, Some(2000)));
        for payload in ["7", "\"Ada\"", "[1]", "true"] {
            let more = format!(
                r#""actions":["subscribe"],"topics":[{{"match":"a"}}],"payload":{payload}"#
            );
            let granted = detail(&more).unwrap().subscribe;
            assert_eq!(granted[0].payload.as_deref(), Some(payload), "any JSON");
        }
        assert_eq!(details("[]").unwrap().publish, []);
        assert!(details("null").is_ok());
    }

    #[test]
    fn one_bad_detail_rejects_the_token() {
        for rest in [
            r#""actions":[],"topics":[{"match":"a"}]"#,
            r#""actions":["publish"],"topics":[]"#,
            r#""actions":["publish"]"#,
            r#""topics":[{"match":"a"}]"#,
            r#""actions":"publish","topics":[{"match":"a"}]"#,
            r#""actions":["publish"],"topics":["a"]"#,
            r#""actions":["publish"],"topics":[{"match":""}]"#,
            r#""actions":["publish"],"topics":[{"match":7}]"#,
            r#""actions":["publish"],"topics":[["a"]]"#,
            r#""actions":["publish"],"topics":[{"match":"a","match_type":"regexp"}]"#,
            r#""actions":["publish"],"topics":[{"match":"a","match_type":"Exact"}]"#,
            r#""actions":["publish"],"topics":[{"match":"(","match_type":"urlpattern"}]"#,
            r#""actions":["publish"],"topics":[{"match":"a\u200b"}]"#,
            r#""actions":["fly"],"topics":[{"match":"("},{"match":"(","match_type":"urlpattern"}]"#,
        ] {
            assert_eq!(detail(rest).err(), Some(Refused::Detail), "{rest}");
            let good = r#""actions":["publish"],"topics":[{"match":"a"}]"#;
            let both = format!(r#"[{{"type":"{DETAIL}",{good}}},{{"type":"{DETAIL}",{rest}}}]"#);
            assert_eq!(details(&both).err(), Some(Refused::Detail), "{rest}");
        }
        for all in [r#"[7]"#, r#"["x"]"#, r#"[{}]"#, r#"[{"type":7}]"#, "[null]"] {
            assert_eq!(details(all).err(), Some(Refused::Detail), "{all}");
        }
        assert_eq!(details("{}").err(), Some(Refused::Form));
        let topics = vec![r#"{"match":"a"}"#; 101].join(",");
        let many = detail(&format!(r#""actions":["publish"],"topics":[{topics}]"#));
        assert_eq!(many.err(), Some(Refused::TooManyTopics));
        let half = vec![r#"{"match":"a"}"#; 51].join(",");
        let half = format!(r#"{{"type":"{DETAIL}","actions":["publish"],"topics":[{half}]}}"#);
        let two = details(&format!("[{half},{half}]"));
        assert_eq!(two.err(), Some(Refused::TooManyTopics));
    }

    #[test]
    fn a_token_is_for_this_hub_and_this_time() {
        let claims =
            |claims: &str| one(claims.as_bytes(), &hub(), NOW).map(|grants| grants.expires);
        let with = |rest: &str| claims(&format!(r#"{{"aud":"{HUB}",{rest}}}"#));
        assert_eq!(with(r#""exp":1001"#), Ok(Some(1001)));
        assert_eq!(with(r#""exp":1001.9"#), Ok(Some(1001)));
        assert_eq!(with(r#""exp":1000.9"#), Err(Refused::Expired));
        assert_eq!(with(r#""exp":-5"#), Err(Refused::Expired));
        assert_eq!(with(r#""exp":"2000""#), Err(Refused::Form));
        assert_eq!(with(r#""exp":null"#), Err(Refused::NoExpiry));
        assert_eq!(with(r#""x":1"#), Err(Refused::NoExpiry));
        assert_eq!(with(r#""exp":2000,"exp":3000"#), Err(Refused::Form));
        assert_eq!(with(r#""exp":2000,"nbf":1010"#), Ok(Some(2000)));
        assert_eq!(with(r#""exp":2000,"nbf":1010.5"#), Err(Refused::NotYet));
        for (aud, expected) in [
            (format!(r#"["x","{HUB}"]"#), Ok(Some(2000))),
            ("[]".to_owned(), Err(Refused::Audience)),
            (format!(r#""{HUB}/""#), Err(Refused::Audience)),
            (
                r#""https://example.com""#.to_owned(),
                Err(Refused::Audience),
            ),
            ("null".to_owned(), Err(Refused::Audience)),
            ("7".to_owned(), Err(Refused::Form)),
        ] {
            let found = claims(&format!(r#"{{"exp":2000,"aud":{aud}}}"#));
            assert_eq!(found, expected, "{aud}");
        }
        assert_eq!(claims(r#"{"exp":2000}"#), Err(Refused::Audience));
        assert_eq!(claims("[]"), Err(Refused::Form));
    }

    #[test]
    fn the_older_version_has_claims_of_its_own() {
        let claims = |claims: &str| legacy(claims.as_bytes(), &hub(), NOW);
        let grants = claims(
            r#"{"mercure":{"publish":["*"],"subscribe":["https://example.com/{id}","b"],"payload":{"x":1}}}"#,
        )
        .unwrap();
        assert_eq!(texts(grants.publish.iter()), [(Kind::Topic, "*")]);
        assert_eq!(grants.subscribe.len(), 2);
        assert_eq!(grants.subscribe[1].payload.as_deref(), Some(r#"{"x":1}"#));
        assert_eq!((grants.version, grants.expires), (Version::Legacy, None));
        let both =
            claims(r#"{"mercure":{"publish":["a"]},"https://mercure.rocks/":{"publish":["b"]}}"#);
        assert_eq!(texts(both.unwrap().publish.iter()), [(Kind::Topic, "b")]);
        assert_eq!(claims(r#"{}"#).unwrap().publish, []);
        assert_eq!(
            claims(r#"{"mercure":{"publish":null}}"#).unwrap().publish,
            []
        );
        assert_eq!(claims(r#"{"exp":1000}"#), Err(Refused::Expired));
        assert_eq!(claims(r#"{"nbf":1011}"#), Err(Refused::NotYet));
        assert_eq!(claims(r#"{"mercure":{"publish":[7]}}"#), Err(Refused::Form));
        assert_eq!(
            claims(r#"{"mercure":{"publish":["\u0000"]}}"#),
            Err(Refused::Topic)
        );
        assert_eq!(
            claims(r#"{"mercure":{"subscribe":[""]}}"#),
            Err(Refused::Topic)
        );
    }

    #[test]
    fn a_token_is_of_the_new_version_by_its_type_or_its_details() {
        let version =
            |typ, payload: &str| Unverified::read(typ, payload.as_bytes()).unwrap().version;
        for typ in [
            "at+jwt",
            "AT+JWT",
            "application/at+jwt",
            "Application/AT+jwt",
        ] {
            assert_eq!(
                version(Some(typ), r#"{"mercure":{}}"#),
                Version::One,
                "{typ}"
            );
        }
        for typ in [
            None,
            Some("JWT"),
            Some("jwt"),
            Some("id+jwt"),
            Some("at+jwt+x"),
        ] {
            assert_eq!(
                version(typ, r#"{"mercure":{}}"#),
                Version::Legacy,
                "{typ:?}"
            );
            assert_eq!(
                version(typ, r#"{"authorization_details":null}"#),
                Version::One,
                "{typ:?}"
            );
        }
        let issuer = |payload: &str| Unverified::read(None, payload.as_bytes()).unwrap().issuer;
        assert_eq!(
            issuer(r#"{"iss":"https://a"}"#).as_deref(),
            Some("https://a")
        );
        assert_eq!(issuer(r#"{"iss":7}"#), None);
        assert_eq!(issuer(r#"{"iss":null}"#), None);
        for twice in [
            r#"{"iss":"https://a","iss":"https://b"}"#,
            r#"{"iss":"https://a","\u0069ss":"https://a"}"#,
            r#"{"authorization_details":[],"authorization_details":[]}"#,
        ] {
            let read = Unverified::read(None, twice.as_bytes());
            assert_eq!(read, Err(Refused::Form), "{twice}");
        }
        assert_eq!(Unverified::read(None, b"[]"), Err(Refused::Form));
    }

    proptest! {
        #[test]
        fn no_claims_panic(text in prop_oneof![".{0,60}", r#"\{"(aud|exp|nbf|mercure|authorization_details)":[\[\{0-9a-z"\}\],:]{0,30}\}"#]) {
            let _ = one(text.as_bytes(), &hub(), NOW);
            let _ = legacy(text.as_bytes(), &hub(), NOW);
            let _ = Unverified::read(None, text.as_bytes());
        }
    }
}

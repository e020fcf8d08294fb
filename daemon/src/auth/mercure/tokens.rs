//! Tokens of a hub's publishers and subscribers: JWT in the compact form of JWS, whose claims `protocol::mercure::claims`
//! reads once the signature has been verified.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::json::object_from_slice;
use protocol::mercure::Version;
use protocol::mercure::claims;
use protocol::mercure::claims::{Now, Unverified};
use protocol::mercure::grants::Grants;
use protocol::mercure::hub_url::HubUrl;
use serde::Deserialize;

use super::keys::{Algorithm, Key, Role};
use crate::auth::token::LEEWAY;

/// Bytes of a token. A cookie has room for 4,096 with its name and attributes, a header for more.
pub const MAX_TOKEN: usize = 16 << 10;

/// Verifies the tokens of one hub.
#[derive(Debug)]
pub struct HubTokens {
    pub hub: HubUrl,
    /// Each issuer of version 1.0 with its keys.
    pub issuers: Vec<(String, Vec<Key>)>,
    /// Of version 0.x. Empty: it is not spoken.
    pub legacy: Vec<Key>,
}

/// Why a token is refused. `Display` is one line that repeats nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the token is longer than 16384 bytes")]
    TooLong,
    #[error("the token is not a JWT in compact form")]
    Malformed,
    #[error("the token's typ is not at+jwt, which a token with authorization_details must have")]
    Type,
    #[error("the token's issuer (iss) is not one that is known here")]
    Issuer,
    #[error(
        "the token is of version 0.x (neither typ at+jwt nor authorization_details), which is not spoken here"
    )]
    Version,
    #[error(
        "a token of this version is not shown so: one of 1.0 in Authorization or its cookie, one of 0.x in its own cookie, too, or in authorization="
    )]
    Place,
    #[error("no key of the token's issuer is for its algorithm and for this")]
    Key,
    #[error("the token's signature is wrong")]
    Signature,
    #[error(transparent)]
    Claims(#[from] claims::Refused),
}

/// Unknown parameters are ignored, except `crit`, which forbids that. A key in the header is never used.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

fn is_present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(from).map(|_| true)
}

impl HubTokens {
    /// Whether version 0.x is spoken.
    pub fn speaks_legacy(&self) -> bool {
        !self.legacy.is_empty()
    }

    /// What the bearer of a token may do. `only`: the version whose tokens are shown in this way; None: any. `now`: seconds
    /// since 1970.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn verify(
        &self,
        token: &str,
        only: Option<Version>,
        role: Role,
        now: u64,
    ) -> Result<Grants, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::TooLong);
        }
        let malformed = Refused::Malformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        // A payload with a further dot is refused as invalid base64.
        let (header, payload) = signed.split_once('.').ok_or(malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
        let header: Header = object_from_slice(&decode(header)?).map_err(|_| malformed)?;
        if header.crit {
            return Err(malformed);
        }
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        let unverified = Unverified::read(header.typ.as_deref(), &payload)?;
        if only.is_some_and(|only| only != unverified.version) {
            return Err(Refused::Place);
        }
        let keys = match unverified.version {
            Version::One => {
                if !header.typ.as_deref().is_some_and(claims::is_access_token) {
                    return Err(Refused::Type);
                }
                let issuer = unverified.issuer.ok_or(Refused::Issuer)?;
                let known = self.issuers.iter().find(|(name, _)| *name == issuer);
                &known.ok_or(Refused::Issuer)?.1
            }
            Version::Legacy if self.legacy.is_empty() => return Err(Refused::Version),
            Version::Legacy => &self.legacy,
        };
        let algorithm = Algorithm::named(&header.alg).ok_or(Refused::Key)?;
        let candidates = keys.iter().filter(|key| key.is_for(algorithm, role));
        let mut candidates = candidates.peekable();
        if candidates.peek().is_none() {
            return Err(Refused::Key);
        }
        if !candidates.any(|key| key.verify(signed.as_bytes(), &signature)) {
            return Err(Refused::Signature);
        }
        let now = Now {
            seconds: now,
            leeway: LEEWAY,
        };
        Ok(match unverified.version {
            Version::One => claims::one(&payload, &self.hub, now)?,
            Version::Legacy => claims::legacy(&payload, &self.hub, now)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use protocol::mercure::topic::Topic;
    use serde_json::json;

    use super::super::keys;
    use super::*;
    use crate::auth::token::tests::signed;

    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "1123456789abcdef0123456789abcdef";
    const LEGACY: &str = "2123456789abcdef0123456789abcdef";
    const HUB: &str = "https://example.com/.well-known/mercure";
    const AT: &str = r#"{"alg":"HS256","typ":"at+jwt"}"#;
    const JWT: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    fn tokens(legacy: bool) -> HubTokens {
        let keys = |secret| keys::parse(&format!("HS256 {secret}")).unwrap();
        HubTokens {
            hub: HubUrl::parse(HUB).unwrap(),
            issuers: vec![
                ("https://a".to_owned(), keys(ONE)),
                ("https://b".to_owned(), keys(OTHER)),
            ],
            legacy: if legacy { keys(LEGACY) } else { Vec::new() },
        }
    }

    fn claims(issuer: &str) -> String {
        json!({
            "iss": issuer, "aud": HUB, "exp": 2000,
            "authorization_details": [{
                "type": claims::DETAIL, "actions": ["publish"], "topics": [{"match": "a"}],
            }],
        })
        .to_string()
    }

    fn verify(legacy: bool, secret: &str, header: &str, claims: &str) -> Result<Grants, Refused> {
        let token = signed(secret.as_bytes(), header, claims);
        tokens(legacy).verify(&token, None, Role::Publish, 1000)
    }

    #[test]
    fn an_issuer_signs_with_its_own_keys() {
        let grants = verify(false, ONE, AT, &claims("https://a")).unwrap();
        let hub = HubUrl::parse(HUB).unwrap();
        assert!(grants.can_publish([&Topic::new("a", &hub)]));
        assert!(verify(false, OTHER, AT, &claims("https://b")).is_ok());
        assert_eq!(
            verify(false, OTHER, AT, &claims("https://a")),
            Err(Refused::Signature)
        );
        assert_eq!(
            verify(false, ONE, AT, &claims("https://c")),
            Err(Refused::Issuer)
        );
        let without = r#"{"aud":"x","exp":2000,"authorization_details":[]}"#;
        assert_eq!(verify(false, ONE, AT, without), Err(Refused::Issuer));
        assert_eq!(
            verify(true, LEGACY, AT, &claims("https://a")),
            Err(Refused::Signature),
            "the other version's key"
        );
    }

    #[test]
    fn a_token_of_one_version_never_counts_as_one_of_the_other() {
        let old = json!({"mercure": {"publish": ["*"]}}).to_string();
        assert!(verify(true, LEGACY, JWT, &old).is_ok());
        assert!(verify(true, LEGACY, r#"{"alg":"HS256"}"#, &old).is_ok());
        assert_eq!(verify(false, LEGACY, JWT, &old), Err(Refused::Version));
        assert_eq!(verify(true, ONE, JWT, &old), Err(Refused::Signature));
        // With what 1.0 is known by it is nothing else, signed by whatever key.
        for secret in [ONE, LEGACY] {
            assert_eq!(
                verify(true, secret, JWT, &claims("https://a")),
                Err(Refused::Type)
            );
            assert_eq!(verify(true, secret, AT, &old), Err(Refused::Issuer));
        }
        let both =
            json!({"iss": "https://a", "mercure": {"publish": ["*"]}, "aud": HUB, "exp": 2000});
        let grants = verify(true, ONE, AT, &both.to_string()).unwrap();
        assert!(grants.publish.is_empty(), "its claims of 0.x are not read");
    }

    #[test]
    fn a_token_is_shown_as_its_version_has_it() {
        let old = json!({"mercure": {"publish": ["*"]}}).to_string();
        let one = signed(ONE.as_bytes(), AT, &claims("https://a"));
        let old = signed(LEGACY.as_bytes(), JWT, &old);
        let shown = |token: &str, only| tokens(true).verify(token, only, Role::Publish, 1000);
        for only in [None, Some(Version::One)] {
            assert!(shown(&one, only).is_ok());
        }
        for only in [None, Some(Version::Legacy)] {
            assert!(shown(&old, only).is_ok());
        }
        assert_eq!(shown(&one, Some(Version::Legacy)), Err(Refused::Place));
        assert_eq!(shown(&old, Some(Version::One)), Err(Refused::Place));
    }

    #[test]
    fn the_key_fixes_algorithm_and_role() {
        let with = |header: &str| verify(false, ONE, header, &claims("https://a"));
        for alg in ["none", "HS384", "HS512", "RS256", "EdDSA", "hs256"] {
            let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt"}}"#);
            assert_eq!(with(&header), Err(Refused::Key), "{alg}");
        }
        assert_eq!(
            with(r#"{"alg":"HS256","typ":"at+jwt","crit":[]}"#),
            Err(Refused::Malformed)
        );
        assert!(with(r#"{"alg":"HS256","typ":"at+jwt","jwk":{},"kid":"x"}"#).is_ok());
        let mut only = tokens(false);
        only.issuers[0].1 = keys::parse(&format!("HS256 {ONE} subscribe")).unwrap();
        let token = signed(ONE.as_bytes(), AT, &claims("https://a"));
        assert_eq!(
            only.verify(&token, None, Role::Publish, 1000),
            Err(Refused::Key)
        );
        assert!(only.verify(&token, None, Role::Subscribe, 1000).is_ok());
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let tokens = tokens(true);
        let long = "x".repeat(MAX_TOKEN + 1);
        for (token, why) in [
            ("", Refused::Malformed),
            ("a.b", Refused::Malformed),
            ("a.b.c.d", Refused::Malformed),
            (&long, Refused::TooLong),
        ] {
            assert_eq!(tokens.verify(token, None, Role::Publish, 1000), Err(why));
        }
        let good = signed(ONE.as_bytes(), AT, &claims("https://a"));
        assert!(tokens.verify(&good, None, Role::Publish, 1000).is_ok());
        let changed = good.replace(&good[good.len() - 5..], "AAAAA");
        assert_eq!(
            tokens.verify(&changed, None, Role::Publish, 1000),
            Err(Refused::Signature)
        );
        assert_eq!(
            tokens.verify(&good, None, Role::Publish, 2000),
            Err(Refused::Claims(claims::Refused::Expired))
        );
    }
}

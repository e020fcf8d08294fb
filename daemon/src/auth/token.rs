//! Signed tokens: JWT (RFC 7519) in the compact form of JWS (RFC 7515).
//!
//! | claim | | |
//! |---|---|---|
//! | `exp` | required | seconds since 1970, an integer, at most 31 days ahead |
//! | `channels` | | 0 to 100 channels or patterns (`shared::grant`); none: the token only identifies its bearer |
//! | `exact_channels` | | channels in whose names a `*` is a `*`; 100 together with `channels` |
//! | `sub` | | user id, 1 to 128 bytes; needed for presence channels |
//! | `info` | | what members see of the user: any JSON of at most 1,024 bytes |
//! | `iat` | | refused if in the future; needed once tokens of the user were revoked |
//! | `nbf` | | not valid before |
//! | `aud` | | if present, it or one item of its list must be the application's id; can be made required |
//!
//! Verified here, not by the crate `jsonwebtoken`: its pure-Rust backend brings in RSA, which has an open timing
//! advisory (RUSTSEC-2023-0071), and two further curves for algorithms that must not be accepted here; it rounds
//! an `exp` that is not an integer; and it has no bounds. Without it, what remains is splitting at two dots and
//! parsing two small JSON objects; the cryptography is `hmac`, `sha2` and `ed25519-dalek`.
//!
//! No claim is parsed before the signature is verified.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::json::object_from_slice;
use protocol::user_bounds::UserBounds;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::grant::{self, MAX_PATTERNS, MAX_TOKEN, MAX_TTL};

use super::keys::{Algorithm, Key};
use super::revoked::Revoked;

/// Seconds by which the signer's clock may be ahead of this one.
pub const LEEWAY: u64 = 10;

/// Verifies the tokens of one application.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Vec<Key>,
    audience: String,
    audience_required: bool,
}

/// What a token grants. Created only from a token with a valid signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    patterns: Vec<String>,
    exact: Vec<String>,
    /// 1 to 128 bytes without control characters.
    pub user: Option<Arc<str>>,
    /// JSON on one line, at most 1,024 bytes.
    pub info: Option<Arc<str>>,
    /// Seconds since 1970.
    pub expires: u64,
    /// Seconds since 1970.
    pub issued: Option<u64>,
}

impl Grant {
    /// Whether one of the token's patterns matches `channel`, or it is named.
    pub fn allows(&self, channel: &str) -> bool {
        let stands_for = |pattern: &String| grant::stands_for(pattern, channel);
        self.patterns.iter().any(stands_for) || self.exact.iter().any(|name| name == channel)
    }
}

/// Why a token is refused. `Display` is a phrase for the response; it never repeats the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the token is longer than 4000 bytes")]
    TooLong,
    #[error("the token is not a JWT in compact form")]
    Malformed,
    #[error("the token's algorithm is neither HS256 nor EdDSA")]
    Algorithm,
    #[error("the token's key is not known")]
    Key,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token's claims are not what they must be")]
    Claims,
    #[error("the token has no exp")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token's exp is more than 31 days ahead")]
    TooLongLived,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token is for another application")]
    Audience,
    #[error("the token's channels are more than 100, or one is not a channel's name")]
    Patterns,
    #[error("the token's sub is not 1 to 128 bytes without control characters")]
    User,
    #[error("the token's info is not JSON of at most 1024 bytes that every reader takes")]
    Info,
    #[error("the token was revoked")]
    Revoked,
}

/// Unknown parameters are ignored (RFC 7515, section 4), except `crit`, which forbids that. The decoder refuses a
/// repeated name.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: std::borrow::Cow<'a, str>,
    kid: Option<String>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

/// Times must be integers; a token with any other number is refused.
#[derive(Deserialize)]
struct Claims<'a> {
    exp: Option<u64>,
    nbf: Option<u64>,
    iat: Option<u64>,
    sub: Option<String>,
    aud: Option<Audience>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    exact_channels: Vec<String>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Any(Vec<String>),
}

impl Audience {
    fn contains(&self, id: &str) -> bool {
        match self {
            Self::One(one) => one == id,
            Self::Any(list) => list.iter().any(|one| one == id),
        }
    }
}

/// Even `"crit": null` counts as present.
fn is_present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(from).map(|_| true)
}

impl Verifier {
    /// `audience`: the application's id. `audience_required`: whether a token without `aud` is refused.
    pub fn new(keys: Vec<Key>, audience: &str, audience_required: bool) -> Self {
        Self {
            keys,
            audience: audience.to_owned(),
            audience_required,
        }
    }

    /// Whether these are its keys.
    pub fn has(&self, keys: &[Key]) -> bool {
        self.keys == keys
    }

    /// Verifies by these keys from now on.
    pub fn replace(&mut self, keys: Vec<Key>) {
        self.keys = keys;
    }

    /// The application's id, as `aud` must name it.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Verifies a token at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// The first reason to refuse it. The reasons found before the signature is verified reveal nothing about any
    /// key.
    pub fn verify(&self, token: &str, now: u64, revoked: &Revoked) -> Result<Grant, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::TooLong);
        }
        let payload = self.signed(token)?;
        let claims = object_from_slice(&payload).map_err(|_| Refused::Claims)?;
        self.check(claims, now, revoked)
    }

    /// The payload, if the signature is valid.
    fn signed(&self, token: &str) -> Result<Vec<u8>, Refused> {
        let malformed = Refused::Malformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        // A payload with a further dot is refused as invalid base64.
        let (header, payload) = signed.split_once('.').ok_or(malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
        let header = decode(header)?;
        let header: Header = object_from_slice(&header).map_err(|_| malformed)?;
        if header.crit {
            return Err(malformed);
        }
        let algorithm = Algorithm::named(&header.alg).ok_or(Refused::Algorithm)?;
        let signature = decode(signature)?;
        let payload = decode(payload)?;

        let kid = header.kid.as_deref();
        let mut candidates = self
            .keys
            .iter()
            .filter(|key| key.is_for(algorithm, kid))
            .peekable();
        if candidates.peek().is_none() {
            return Err(Refused::Key);
        }
        match candidates.any(|key| key.verify(signed.as_bytes(), &signature)) {
            true => Ok(payload),
            false => Err(Refused::Signature),
        }
    }

    fn check(&self, claims: Claims, now: u64, revoked: &Revoked) -> Result<Grant, Refused> {
        let expires = claims.exp.ok_or(Refused::NoExpiry)?;
        if expires <= now {
            return Err(Refused::Expired);
        }
        if expires - now > MAX_TTL {
            return Err(Refused::TooLongLived);
        }
        let ahead = |at: Option<u64>| at.is_some_and(|at| at > now.saturating_add(LEEWAY));
        if ahead(claims.nbf) || ahead(claims.iat) {
            return Err(Refused::NotYet);
        }
        let for_us = claims.aud.as_ref().map(|aud| aud.contains(&self.audience));
        if for_us == Some(false) || (for_us.is_none() && self.audience_required) {
            return Err(Refused::Audience);
        }
        let mut names = claims.channels.iter().chain(&claims.exact_channels);
        let many = claims.channels.len() + claims.exact_channels.len() > MAX_PATTERNS;
        if many || !names.all(|name| grant::pattern(name.as_bytes()).is_ok()) {
            return Err(Refused::Patterns);
        }
        if claims
            .sub
            .as_ref()
            .is_some_and(|user| grant::user(user.as_bytes()).is_err())
        {
            return Err(Refused::User);
        }
        // As long as PHP signs it, whatever the application allows elsewhere.
        let info = claims
            .info
            .map(|info| UserBounds::default().info(info).map_err(|_| Refused::Info));
        let info = info.transpose()?;
        if revoked.refuses(claims.sub.as_deref(), claims.iat) {
            return Err(Refused::Revoked);
        }
        Ok(Grant {
            patterns: claims.channels,
            exact: claims.exact_channels,
            user: claims.sub.map(Into::into),
            info: info.map(Into::into),
            expires,
            issued: claims.iat,
        })
    }
}

#[cfg(test)]
pub mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;
    use protocol::mac;
    use serde_json::{Value, json};
    use shared::grant::MAX_INFO;
    use shared::secret;

    use super::*;

    pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const OLD: &str = "fedcba9876543210fedcba9876543210";
    const NOW: u64 = 1_800_000_000;

    fn signing_key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    pub fn keys() -> Vec<Key> {
        let file = format!("k2 {SECRET}\nk1 {OLD}\n");
        let mut keys: Vec<Key> = secret::parse(&file)
            .unwrap()
            .into_iter()
            .map(Key::from)
            .collect();
        let public = URL_SAFE_NO_PAD.encode(signing_key().verifying_key().as_bytes());
        keys.push(Key::public(&format!("ed {public}")).unwrap());
        keys
    }

    fn verifier() -> Verifier {
        Verifier::new(keys(), "shop", false)
    }

    fn encode(part: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(part)
    }

    /// Signed with HS256, whatever the header says.
    pub fn signed(secret: &[u8], header: &str, claims: &str) -> String {
        signed_bytes(secret, header, claims.as_bytes())
    }

    fn signed_bytes(secret: &[u8], header: &str, claims: &[u8]) -> String {
        let text = format!("{}.{}", encode(header), encode(claims));
        let code = mac::sign(secret, &[text.as_bytes()]);
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(code))
    }

    pub fn token(claims: &str) -> String {
        signed(SECRET.as_bytes(), r#"{"alg":"HS256","typ":"JWT"}"#, claims)
    }

    fn verify(token: &str) -> Result<Grant, Refused> {
        verifier().verify(token, NOW, &Revoked::default())
    }

    fn good() -> Value {
        json!({
            "exp": NOW + 60, "iat": NOW, "nbf": NOW, "sub": "7", "info": {"name": "Æ"},
            "channels": ["private-a", "presence-room.*"],
        })
    }

    /// Verifies a token of the good claims with one changed.
    fn with(name: &str, value: Value) -> Result<Grant, Refused> {
        let mut claims = good();
        claims[name] = value;
        verify(&token(&claims.to_string()))
    }

    #[test]
    fn a_good_token_grants_what_it_says() {
        let grant = verify(&token(&good().to_string())).unwrap();
        assert!(grant.allows("private-a") && grant.allows("presence-room.1"));
        assert!(!grant.allows("private-b") && !grant.allows("private-ab"));
        assert_eq!(grant.user.as_deref(), Some("7"));
        assert_eq!(grant.info.as_deref(), Some(r#"{"name":"Æ"}"#));
        assert_eq!((grant.expires, grant.issued), (NOW + 60, Some(NOW)));
        let least = verify(&token(&format!(r#"{{"exp":{}}}"#, NOW + 1))).unwrap();
        assert!(!least.allows("private-a") && least.user.is_none());
    }

    #[test]
    fn a_star_in_an_exact_channel_is_a_star() {
        let claims = json!({"exp": NOW + 60, "channels": ["private-a.*"],
            "exact_channels": ["private-b.*", "*", "private-c"]});
        let grant = verify(&token(&claims.to_string())).unwrap();
        for (channel, open) in [
            ("private-a.7", true),
            ("private-b.*", true),
            ("private-b.7", false),
            ("private-b.", false),
            ("*", true),
            ("private-c", true),
            ("private-d", false),
        ] {
            assert_eq!(grant.allows(channel), open, "{channel}");
        }
    }

    #[test]
    fn a_token_from_before_exact_channels_means_what_it_meant() {
        let claims = json!({"exp": NOW + 60, "channels": ["private-a.*", "private-b"]});
        let grant = verify(&token(&claims.to_string())).unwrap();
        assert!(grant.allows("private-a.7") && grant.allows("private-a.*"));
        assert!(grant.allows("private-b") && !grant.allows("private-b.7"));
    }

    #[test]
    fn keys_rotate_by_kid() {
        let claims = good().to_string();
        let by =
            |secret: &str, header| verify(&signed(secret.as_bytes(), header, &claims)).map(|_| ());
        assert_eq!(by(OLD, r#"{"alg":"HS256","kid":"k1"}"#), Ok(()));
        assert_eq!(by(OLD, r#"{"alg":"HS256"}"#), Ok(()), "tried one by one");
        assert_eq!(
            by(OLD, r#"{"alg":"HS256","kid":"k2"}"#),
            Err(Refused::Signature)
        );
        assert_eq!(by(OLD, r#"{"alg":"HS256","kid":"k3"}"#), Err(Refused::Key));
        assert_eq!(by(OLD, r#"{"alg":"HS256","kid":""}"#), Err(Refused::Key));
        assert_eq!(by(OLD, r#"{"alg":"HS256","kid":"ed"}"#), Err(Refused::Key));
    }

    #[test]
    fn ed25519_is_verified_by_its_public_key() {
        let text = format!(
            "{}.{}",
            encode(r#"{"alg":"EdDSA","kid":"ed"}"#),
            encode(good().to_string())
        );
        let signature = signing_key().sign(text.as_bytes()).to_bytes();
        let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert!(verify(&token).is_ok());
        let other = SigningKey::from_bytes(&[8; 32])
            .sign(text.as_bytes())
            .to_bytes();
        let forged = format!("{text}.{}", URL_SAFE_NO_PAD.encode(other));
        assert_eq!(verify(&forged), Err(Refused::Signature));
    }

    #[test]
    fn other_algorithms_are_refused() {
        let claims = good().to_string();
        for alg in [
            "none", "None", "NONE", "", "RS256", "ES256", "HS384", "HS512", "hs256", "HS256 ",
        ] {
            let header = json!({ "alg": alg }).to_string();
            assert_eq!(
                verify(&signed(SECRET.as_bytes(), &header, &claims)),
                Err(Refused::Algorithm),
                "{alg}"
            );
            let bare = format!("{}.{}.", encode(&header), encode(&claims));
            assert_eq!(
                verify(&bare),
                Err(Refused::Algorithm),
                "{alg} without a signature"
            );
        }
        let bare = format!("{}.{}.", encode(r#"{"alg":"HS256"}"#), encode(&claims));
        assert_eq!(verify(&bare), Err(Refused::Signature));
    }

    #[test]
    fn a_public_key_is_not_accepted_as_a_secret() {
        // HS256 with the public key as the secret, in each of its forms, under several headers.
        let public = *signing_key().verifying_key().as_bytes();
        let x = URL_SAFE_NO_PAD.encode(public);
        for secret in [&public[..], x.as_bytes()] {
            for (header, why) in [
                (r#"{"alg":"RS256"}"#, Refused::Algorithm),
                (r#"{"alg":"HS256"}"#, Refused::Signature),
                (r#"{"alg":"HS256","kid":"ed"}"#, Refused::Key),
                (r#"{"alg":"EdDSA","kid":"ed"}"#, Refused::Signature),
            ] {
                assert_eq!(
                    verify(&signed(secret, header, &good().to_string())),
                    Err(why),
                    "{header}"
                );
            }
        }
        // An application with public keys only accepts no HMAC at all.
        let only_public = vec![Key::public(&x).unwrap()];
        let verifier = Verifier::new(only_public, "shop", false);
        let forged = signed(&public, r#"{"alg":"HS256"}"#, &good().to_string());
        assert_eq!(
            verifier.verify(&forged, NOW, &Revoked::default()),
            Err(Refused::Key)
        );
    }

    #[test]
    fn every_truncation_and_every_changed_character_is_refused() {
        let token = token(&good().to_string());
        for end in 0..token.len() {
            assert!(verify(&token[..end]).is_err(), "{end}");
        }
        for at in 0..token.len() {
            for with in ["A", "B", ".", "=", "\n", "é"] {
                let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
                assert!(changed == token || verify(&changed).is_err(), "{at} {with}");
            }
        }
        for around in [
            format!(" {token}"),
            format!("{token}="),
            format!("{token}."),
            format!("{token}A"),
            format!(".{token}"),
        ] {
            assert!(verify(&around).is_err(), "{around}");
        }
    }

    #[test]
    fn times_are_enforced() {
        assert_eq!(with("exp", json!(NOW)), Err(Refused::Expired));
        assert_eq!(with("exp", json!(0)), Err(Refused::Expired));
        assert!(with("exp", json!(NOW + MAX_TTL)).is_ok());
        assert_eq!(
            with("exp", json!(NOW + MAX_TTL + 1)),
            Err(Refused::TooLongLived)
        );
        assert_eq!(with("exp", json!(u64::MAX)), Err(Refused::TooLongLived));
        assert_eq!(with("exp", Value::Null), Err(Refused::NoExpiry));
        assert!(with("nbf", json!(NOW + LEEWAY)).is_ok());
        assert_eq!(with("nbf", json!(NOW + LEEWAY + 1)), Err(Refused::NotYet));
        assert_eq!(with("iat", json!(NOW + LEEWAY + 1)), Err(Refused::NotYet));
        assert!(with("iat", Value::Null).is_ok());
    }

    #[test]
    fn times_are_integers() {
        for name in ["exp", "nbf", "iat"] {
            for bad in [
                "1800000060.5",
                "1800000060.0",
                "1.8e9",
                "\"1800000060\"",
                "-1",
                "18446744073709551616",
                "1e400",
                "true",
                "[]",
                "{}",
            ] {
                let mut claims = good();
                claims[name] = json!("HERE");
                let text = claims.to_string().replace("\"HERE\"", bad);
                assert_eq!(verify(&token(&text)), Err(Refused::Claims), "{name} {bad}");
            }
        }
    }

    #[test]
    fn the_audience_is_the_application() {
        assert!(with("aud", json!("shop")).is_ok() && with("aud", json!(["x", "shop"])).is_ok());
        for aud in [
            json!("other"),
            json!([]),
            json!(["x"]),
            json!(""),
            json!("Shop"),
        ] {
            assert_eq!(with("aud", aud.clone()), Err(Refused::Audience), "{aud}");
        }
        for aud in [json!(1), json!({}), json!([1])] {
            assert_eq!(with("aud", aud.clone()), Err(Refused::Claims), "{aud}");
        }
        let strict = Verifier::new(keys(), "shop", true);
        let without = token(&good().to_string());
        assert_eq!(
            strict.verify(&without, NOW, &Revoked::default()),
            Err(Refused::Audience)
        );
    }

    #[test]
    fn bounds_are_enforced() {
        assert!(with("channels", json!(vec!["a"; 100])).is_ok());
        assert_eq!(
            with("channels", json!(vec!["a"; 101])),
            Err(Refused::Patterns)
        );
        assert_eq!(with("channels", json!(["a\nb"])), Err(Refused::Patterns));
        assert_eq!(with("channels", json!([""])), Err(Refused::Patterns));
        assert_eq!(with("channels", json!("a")), Err(Refused::Claims));
        assert_eq!(with("channels", json!([1])), Err(Refused::Claims));
        assert!(with("exact_channels", json!(vec!["a"; 98])).is_ok());
        assert_eq!(
            with("exact_channels", json!(vec!["a"; 99])),
            Err(Refused::Patterns),
            "together with two in channels"
        );
        assert_eq!(
            with("exact_channels", json!(["a\nb"])),
            Err(Refused::Patterns)
        );
        assert_eq!(with("exact_channels", json!("a")), Err(Refused::Claims));
        assert_eq!(with("sub", json!("")), Err(Refused::User));
        assert_eq!(with("sub", json!("x".repeat(129))), Err(Refused::User));
        assert_eq!(with("sub", json!(7)), Err(Refused::Claims));
        assert!(with("info", json!("x".repeat(MAX_INFO - 2))).is_ok());
        assert_eq!(
            with("info", json!("x".repeat(MAX_INFO - 1))),
            Err(Refused::Info)
        );
        let long = with("channels", json!(vec!["x".repeat(190); 20]));
        assert_eq!(long, Err(Refused::TooLong));
        let deep = format!(r#"{{"exp":{},"info":{}}}"#, NOW + 1, "[".repeat(2000));
        assert_eq!(verify(&token(&deep)), Err(Refused::Claims));
    }

    #[test]
    fn repeated_members_and_other_shapes_are_refused() {
        for twice in [
            format!(r#"{{"exp":1,"exp":{}}}"#, NOW + 60),
            format!(r#"{{"exp":{},"sub":"7","sub":"8"}}"#, NOW + 60),
            format!(r#"{{"exp":{0},"ex\u0070":{0}}}"#, NOW + 60),
            format!(r#"{{"exp":{},"channels":[],"channels":["*"]}}"#, NOW + 60),
            format!("[{}]", NOW + 60),
            "{}{}".into(),
            String::new(),
        ] {
            assert_eq!(verify(&token(&twice)), Err(Refused::Claims), "{twice}");
        }
        for header in [
            r#"{"alg":"none","alg":"HS256"}"#,
            r#"{"alg":"HS256","crit":["exp"]}"#,
            r#"{"alg":"HS256","crit":null}"#,
            r#"["HS256"]"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"typ":"JWT"}"#,
        ] {
            let token = signed(SECRET.as_bytes(), header, &good().to_string());
            assert_eq!(verify(&token), Err(Refused::Malformed), "{header}");
        }
    }

    #[test]
    fn claims_must_be_utf8() {
        let claims = |name: &[u8]| {
            let exp = format!("{{\"exp\":{},\"", NOW + 60).into_bytes();
            let claims = [&exp, name, &b"\":\""[..], name, b"\"}"].concat();
            verify(&signed_bytes(
                SECRET.as_bytes(),
                r#"{"alg":"HS256"}"#,
                &claims,
            ))
            .map(|_| ())
        };
        assert_eq!(claims("é".as_bytes()), Ok(()), "unknown claims are ignored");
        for broken in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80"] {
            assert_eq!(claims(broken), Err(Refused::Claims), "{broken:?}");
        }
    }

    #[test]
    fn revoked_tokens_are_refused() {
        let mut revoked = Revoked::default();
        revoked.revoke_user("7", NOW - 1);
        let check =
            |revoked: &Revoked| verifier().verify(&token(&good().to_string()), NOW, revoked);
        assert!(check(&revoked).is_ok(), "issued later");
        revoked.revoke_user("7", NOW);
        assert_eq!(check(&revoked), Err(Refused::Revoked));
        let mut all = Revoked::default();
        all.revoke_all(NOW);
        assert_eq!(check(&all), Err(Refused::Revoked));
    }

    #[test]
    fn info_stays_on_one_line() {
        let text = format!("{{\"exp\":{},\"info\":{{\"a\":\n \"b\\n\"\r\n}}}}", NOW + 1);
        let info = verify(&token(&text)).unwrap().info.unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&info).unwrap(),
            json!({"a": "b\n"})
        );
        assert!(!info.contains(['\n', '\r']));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[A-Za-z0-9_.=-]{0,80}|.{0,40}") {
            prop_assert!(verify(&text).is_err());
        }

        #[test]
        fn no_claims_panic(claims in r#"\{("(exp|aud|sub|info|channels|x)":(1800000060|"a"|\[\]|null|\{\}),?){0,4}\}"#) {
            let _ = verify(&token(&claims));
        }
    }
}

//! Any claims in a Mercure hub's token, rightly signed, of either version: refused, or granted within the bounds, with what
//! a plain JSON reader finds in them, and by the other version's key never. The first line is the header, `1` and `0` the
//! usual ones of 1.0 and 0.x.
#![no_main]

use askrd::auth::mercure::keys::{self, Role};
use askrd::auth::mercure::tokens::HubTokens;
use askrd_fuzz::plain;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use protocol::mac;
use protocol::mercure::claims::DETAIL;
use protocol::mercure::hub_url::HubUrl;
use protocol::mercure::topic::Topic;
use protocol::mercure::{MAX_GRANTS, MAX_MATCHERS, Version};
use serde_json::Value;

const NOW: u64 = 1_800_000_000;
const ONE: &str = "0123456789abcdef0123456789abcdef";
const OLD: &str = "fedcba9876543210fedcba9876543210";
const ISSUER: &str = "https://a";

fn tokens() -> HubTokens {
    let keys = |secret| keys::parse(&format!("HS256 {secret}")).expect("a file of one key");
    HubTokens {
        hub: HubUrl::parse("https://example.com/hub").expect("a URL"),
        issuers: vec![(ISSUER.to_owned(), keys(ONE))],
        legacy: keys(OLD),
    }
}

/// The topics that an action was granted for without a variable, as a plain reader finds them.
fn exact(claims: &Value, version: Version, action: &str) -> Vec<String> {
    let texts: Vec<&Value> = match version {
        Version::One => {
            let details = claims["authorization_details"].as_array();
            let details = details.into_iter().flatten();
            let ours = details.filter(|one| {
                let actions = one["actions"].as_array();
                one["type"] == DETAIL && actions.into_iter().flatten().any(|one| one == action)
            });
            let topics = ours.flat_map(|one| one["topics"].as_array().into_iter().flatten());
            let exact = topics.filter(|one| {
                one.get("match_type")
                    .is_none_or(|kind| kind.is_null() || kind == "exact")
            });
            exact.map(|one| &one["match"]).collect()
        }
        Version::Legacy => {
            let spaced = claims
                .get("https://mercure.rocks/")
                .filter(|one| !one.is_null());
            let ours = spaced.or_else(|| claims.get("mercure"));
            let all = ours.and_then(|one| one[action].as_array());
            all.into_iter().flatten().collect()
        }
    };
    texts
        .into_iter()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}

fuzz_target!(|data: &[u8]| {
    let tokens = tokens();
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (header, claims) = data.split_at(at);
    let header: &[u8] = match header {
        b"" | b"1" => br#"{"alg":"HS256","typ":"at+jwt"}"#,
        b"0" => br#"{"alg":"HS256","typ":"JWT"}"#,
        header => header,
    };
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", part(header), part(claims));
    let by = |secret: &str| {
        let code = mac::sign(secret.as_bytes(), &[signed.as_bytes()]);
        tokens.verify(&format!("{signed}.{}", part(&code)), None, Role::Subscribe, NOW)
    };
    let (one, old) = (by(ONE), by(OLD));
    assert!(one.is_err() || old.is_err(), "a token is of one version");
    for why in [&one, &old]
        .into_iter()
        .filter_map(|found| found.as_ref().err())
    {
        assert!(!why.to_string().contains(['\n', '\r']));
    }
    let (grants, version) = match (one, old) {
        (Ok(grants), _) => (grants, Version::One),
        (_, Ok(grants)) => (grants, Version::Legacy),
        _ => return,
    };
    assert_eq!(grants.version, version);
    assert!(grants.expires.is_some() || version == Version::Legacy);
    assert!(grants.expires.is_none_or(|expires| expires > NOW));
    assert!(grants.subscribe.len() <= MAX_MATCHERS && grants.publish.len() <= MAX_MATCHERS);
    // What is granted for both actions is held once.
    assert!(grants.memory() <= 2 * MAX_GRANTS);
    for json in grants
        .subscribe
        .iter()
        .filter_map(|grant| grant.payload.as_deref())
    {
        assert!(!json.contains(['\n', '\r']) && serde_json::from_str::<Value>(json).is_ok());
    }
    let Some(claims) = plain(claims) else {
        return;
    };
    let (publish, subscribe) = (
        exact(&claims, version, "publish"),
        exact(&claims, version, "subscribe"),
    );
    for text in &publish {
        assert!(
            grants.can_publish([&Topic::new(text, &tokens.hub)]),
            "{text}"
        );
    }
    for text in &subscribe {
        assert!(
            grants.can_subscribe([&Topic::new(text, &tokens.hub)]),
            "{text}"
        );
    }
    if grants.publish.iter().all(|matcher| matcher.is_exact()) {
        assert_eq!(publish.len(), grants.publish.len());
    }
});

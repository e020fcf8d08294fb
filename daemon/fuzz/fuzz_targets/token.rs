//! Any text as a token: refused. Any header and claims, rightly signed: refused, or granted within the
//! bounds, with what a plain JSON reader finds in the claims; and refused by any other key.
#![no_main]

use askrd::auth::keys::Key;
use askrd::auth::revoked::Revoked;
use askrd::auth::token::Verifier;
use askrd_fuzz::{check_user, plain};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use protocol::mac;
use protocol::user_bounds::UserBounds;
use serde_json::Value;
use shared::grant::{MAX_TOKEN, MAX_TTL};
use shared::secret;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn verifier(file: &str) -> Verifier {
    let secrets = secret::parse(file).expect("a file of one secret");
    let mut keys: Vec<Key> = secrets.into_iter().map(Key::from).collect();
    // RFC 8037, appendix A.2: nobody here has its secret half.
    let public = Key::public("ed 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    keys.push(public.expect("a public key"));
    Verifier::new(keys, "shop", false)
}

fuzz_target!(|data: &[u8]| {
    let none = Revoked::default();
    let right = verifier(SECRET);
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(right.verify(text, NOW, &none).is_err());
    }

    // The first line is the header, `x` the usual one; the rest are the claims.
    let at = data.iter().position(|byte| *byte == b'\n');
    let (header, claims) = data.split_at(at.unwrap_or(0));
    let header: &[u8] = match header {
        b"" | b"x" => br#"{"alg":"HS256"}"#,
        header => header,
    };
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", part(header), part(claims));
    let code = mac::sign(SECRET.as_bytes(), &[signed.as_bytes()]);
    let token = format!("{signed}.{}", part(&code));
    let Ok(grant) = right.verify(&token, NOW, &none) else {
        return;
    };
    assert!(token.len() <= MAX_TOKEN);
    assert!(grant.expires > NOW && grant.expires <= NOW + MAX_TTL);
    check_user(
        grant.user.as_deref(),
        grant.info.as_deref(),
        UserBounds::default(),
    );
    assert!(verifier(OTHER).verify(&token, NOW, &none).is_err());

    let (Some(header), Some(claims)) = (plain(header), plain(claims)) else {
        return;
    };
    assert_eq!(header["alg"], "HS256");
    assert!(header.get("crit").is_none());
    assert_eq!(claims["exp"], grant.expires);
    assert_eq!(
        claims.get("sub").and_then(Value::as_str),
        grant.user.as_deref()
    );
    assert_eq!(claims.get("iat").and_then(Value::as_u64), grant.issued);
    assert!(
        claims
            .get("nbf")
            .is_none_or(|nbf| nbf.as_u64().unwrap_or(0) <= NOW + 10)
    );
    for channel in ["private-a", "presence-b", ""] {
        let patterns = claims["channels"].as_array();
        let any = patterns.into_iter().flatten().any(|pattern| {
            let pattern = pattern.as_str().expect("a pattern is text");
            shared::grant::stands_for(pattern, channel)
        });
        let exact = claims["exact_channels"].as_array();
        let named = exact.into_iter().flatten().any(|name| name == channel);
        assert_eq!(grant.allows(channel), any || named, "{channel}");
    }
});

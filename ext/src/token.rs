//! `askr_token(array $channels, int $ttl, ?string $user = null, ?array $info = null): string`
//!
//! A JWT (HS256) that askrd takes as the right to subscribe. Signed with the first secret of
//! `askr.secret_file` (`signer`).
//!
//! As in `broadcast`, all that may run PHP code comes first: the claims are made and encoded by PHP
//! itself, then checked for length and signed.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ext_php_rs::types::{ZendHashTable, Zval};
use ext_php_rs::zend::ExecuteData;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use shared::grant::{self, MAX_INFO, MAX_PATTERNS, MAX_TOKEN, MAX_TTL};

use crate::line::{Line, line};
use crate::signer::{self, Signer};
use crate::state::state;
use crate::zend::{self, Params, Thrown};

/// Numbers of the arguments, for messages.
mod argument {
    pub const CHANNELS: u32 = 1;
    pub const TTL: u32 = 2;
    pub const USER: u32 = 3;
    pub const INFO: u32 = 4;
}

pub extern "C" fn handler(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(token) = token(frame) {
            *result = token;
        }
    });
}

fn token(frame: &mut ExecuteData) -> Result<Zval, Thrown> {
    let mut params = Params::new(frame, 2, 4)?;
    let channels = params.array()?;
    let ttl = params.long()?;
    let user = params.string_or_null()?;
    let info = params.array_or_null()?;

    let ttl = u64::try_from(ttl)
        .ok()
        .filter(|ttl| (1..=MAX_TTL).contains(ttl));
    let Some(ttl) = ttl else {
        let why = line!("must be between 1 and {MAX_TTL} (seconds)");
        return Err(zend::value_error(argument::TTL, &why));
    };
    if let Some(why) = user.and_then(|user| grant::user(user).err()) {
        return Err(zend::value_error(argument::USER, &line!("{why}")));
    }
    let mut claims = Zval::new_array();
    zend::set(&mut claims, "channels", patterns(channels)?);
    if let Some(user) = user {
        // It was found to be UTF-8.
        let text = std::str::from_utf8(user).unwrap_or_default();
        zend::set(&mut claims, "sub", text);
    }
    if let Some(info) = info {
        check_info(info)?;
        zend::set(&mut claims, "info", info.shallow_clone());
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    zend::set(&mut claims, "iat", now.as_secs() as i64);
    zend::set(&mut claims, "exp", (now.as_secs() + ttl) as i64);
    let claims = zend::json(&claims, argument::INFO)?;

    match sign(
        claims
            .zend_str()
            .map(|json| json.as_bytes())
            .unwrap_or_default(),
    ) {
        Ok(Some(token)) => Ok(token),
        Ok(None) => {
            let why = line!(
                "makes a token of more than {MAX_TOKEN} bytes; a pattern such as \"private-orders.*\" takes less room"
            );
            Err(zend::value_error(argument::CHANNELS, &why))
        }
        Err(why) => Err(zend::exception(&why)),
    }
}

/// The channels as a list of strings that askrd will take.
fn patterns(channels: &ZendHashTable) -> Result<Zval, Thrown> {
    if channels.len() > MAX_PATTERNS {
        let why = line!(
            "must have at most {MAX_PATTERNS} elements, {} given",
            channels.len()
        );
        return Err(zend::value_error(argument::CHANNELS, &why));
    }
    let mut list = Zval::new_array();
    for value in channels.values().map(Zval::dereference) {
        if !(value.is_string() || zend::is_stringable(value)) {
            let why = line!("must be an array of strings");
            return Err(zend::type_error(argument::CHANNELS, &why));
        }
        let text = zend::to_string(value)?;
        let bytes = text
            .zend_str()
            .map(|text| text.as_bytes())
            .unwrap_or_default();
        if let Err(why) = grant::pattern(bytes) {
            return Err(zend::value_error(argument::CHANNELS, &line!("{why}")));
        }
        if let Some(list) = list.array_mut() {
            // Appending to a list of at most 100 cannot fail.
            let _ = list.push(text);
        }
    }
    Ok(list)
}

fn check_info(info: &Zval) -> Result<(), Thrown> {
    let json = zend::json(info, argument::INFO)?;
    let size = json.zend_str().map_or(0, |json| json.len());
    if size <= MAX_INFO {
        return Ok(());
    }
    let why = line!("must be at most {MAX_INFO} bytes long as JSON, {size} given");
    Err(zend::value_error(argument::INFO, &why))
}

/// The token; none if it would be too long.
#[expect(
    clippy::result_large_err,
    reason = "a line is not on the heap, see `zend`; and it is rare"
)]
fn sign(claims: &[u8]) -> Result<Option<Zval>, Line> {
    let state = state();
    let mut signer = state.signer.borrow_mut();
    signer::refresh(&mut signer, state.secret_file.borrow().as_deref())
        .map_err(|why| line!("askr.secret_file: {why}"))?;
    let Some(Signer { newest, .. }) = signer.as_ref() else {
        return Err(line!("askr.secret_file is not set"));
    };
    // A key's name needs no escape.
    let header = match &newest.kid {
        Some(kid) => format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{kid}"}}"#),
        None => r#"{"alg":"HS256","typ":"JWT"}"#.to_owned(),
    };
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let mut text = format!("{}.{}", encode(header.as_bytes()), encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(newest.secret.bytes())
        .map_err(|_| line!("the secret cannot be used"))?;
    mac.update(text.as_bytes());
    text.push('.');
    text.push_str(&encode(&mac.finalize().into_bytes()));
    drop(signer);
    if text.len() > MAX_TOKEN {
        return Ok(None);
    }
    // Off the heap before PHP is asked for memory, which may end in a bailout.
    let mut room = [0; MAX_TOKEN];
    let bytes = &mut room[..text.len()];
    bytes.copy_from_slice(text.as_bytes());
    drop(text);
    let mut token = Zval::new();
    let _ = token.set_string(std::str::from_utf8(bytes).unwrap_or_default(), false);
    Ok(Some(token))
}

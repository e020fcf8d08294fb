//! `askr_token(array $channels, int $ttl, ?string $user = null, ?array $info = null,
//! ?array $patterns = null): string`
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
    pub const PATTERNS: u32 = 5;
}

pub extern "C" fn handler(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(token) = token(frame) {
            *result = token;
        }
    });
}

fn token(frame: &mut ExecuteData) -> Result<Zval, Thrown> {
    let mut params = Params::new(frame, 2, 5)?;
    let channels = params.array()?;
    let ttl = params.long()?;
    let user = params.string_or_null()?;
    let info = params.array_or_null()?;
    let patterns = params.array_or_null()?.and_then(Zval::array);

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
    set_channels(&mut claims, channels, patterns)?;
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

    match sign(bytes(&claims)) {
        Ok(Some(token)) => Ok(token),
        Ok(None) => {
            let why = line!(
                "makes a token of more than {MAX_TOKEN} bytes; one of $patterns, such as \"private-orders.*\", takes less room"
            );
            Err(zend::value_error(argument::CHANNELS, &why))
        }
        Err(why) => Err(zend::exception(&why)),
    }
}

/// Sets what the token is for. In `channels` every askrd takes a name with a `*` at its end for a pattern, so only
/// patterns are put there with one. A channel with one goes where no askrd does, and an askrd that does not know
/// that claim opens less than the token says, never more.
fn set_channels(
    claims: &mut Zval,
    channels: &ZendHashTable,
    patterns: Option<&ZendHashTable>,
) -> Result<(), Thrown> {
    if channels.len() > MAX_PATTERNS {
        let why = line!(
            "must have at most {MAX_PATTERNS} elements, {} given",
            channels.len()
        );
        return Err(zend::value_error(argument::CHANNELS, &why));
    }
    let both = channels.len() + patterns.map_or(0, ZendHashTable::len);
    if both > MAX_PATTERNS {
        let why = line!(
            "must have at most {MAX_PATTERNS} elements together with $channels, {both} given"
        );
        return Err(zend::value_error(argument::PATTERNS, &why));
    }
    let (mut list, mut exact) = (Zval::new_array(), Zval::new_array());
    for value in channels.values() {
        let channel = name(value, argument::CHANNELS)?;
        match ends_with_star(&channel) {
            true => push(&mut exact, channel),
            false => push(&mut list, channel),
        }
    }
    for value in patterns.iter().flat_map(|patterns| patterns.values()) {
        let pattern = name(value, argument::PATTERNS)?;
        if !ends_with_star(&pattern) {
            let why = line!("must end with \"*\", and a channel is one of $channels");
            return Err(zend::value_error(argument::PATTERNS, &why));
        }
        push(&mut list, pattern);
    }
    zend::set(claims, "channels", list);
    if exact.array().is_some_and(|exact| !exact.is_empty()) {
        zend::set(claims, "exact_channels", exact);
    }
    Ok(())
}

/// An element of argument `n` as a string, if it is a name. May run `__toString()`.
fn name(value: &Zval, n: u32) -> Result<Zval, Thrown> {
    let value = value.dereference();
    if !(value.is_string() || zend::is_stringable(value)) {
        return Err(zend::type_error(n, &line!("must be an array of strings")));
    }
    let name = zend::to_string(value)?;
    match grant::pattern(bytes(&name)) {
        Ok(()) => Ok(name),
        Err(why) => Err(zend::value_error(n, &line!("{why}"))),
    }
}

fn ends_with_star(name: &Zval) -> bool {
    bytes(name).ends_with(b"*")
}

fn bytes(text: &Zval) -> &[u8] {
    text.zend_str()
        .map(|text| text.as_bytes())
        .unwrap_or_default()
}

fn push(list: &mut Zval, name: Zval) {
    if let Some(list) = list.array_mut() {
        // Appending to a list of at most 100 cannot fail.
        let _ = list.push(name);
    }
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

//! Who listens: `askr_channels(?string $prefix = null): array`, `askr_members(string $channel): array`,
//! `askr_disconnect_user(string $user): int`, `askr_disconnect_socket(string $socketId): int`,
//! `askr_disconnect(string $socketOrUser): int`.
//!
//! The ring leads one way only, so askrd is asked, over its control socket. It finds the application by
//! the ring that this PHP publishes to, and by the peer's credentials whether it may ask. Arguments and
//! the body come first, as they may run PHP code; then the question, while nothing of PHP's runs; then
//! the answer, which PHP decodes.

use ext_php_rs::types::Zval;
use ext_php_rs::zend::ExecuteData;
use shared::control::{self, LIMITS, Question, Trouble};
use shared::grant;
use shared::rules::{self, MAX_CHANNEL, Violation};

use crate::line::{Line, line};
use crate::state::state;
use crate::zend::{self, Params, Thrown};

pub extern "C" fn channels(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(channels) = ask_channels(frame) {
            *result = channels;
        }
    });
}

pub extern "C" fn members(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(members) = ask_members(frame) {
            *result = members;
        }
    });
}

pub extern "C" fn disconnect(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(ended) = either(frame).and_then(|(key, whom)| end(key, whom)) {
            result.set_long(ended);
        }
    });
}

pub extern "C" fn disconnect_user(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(ended) = user(frame).and_then(|user| end(USER, user)) {
            result.set_long(ended);
        }
    });
}

pub extern "C" fn disconnect_socket(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(ended) = socket(frame).and_then(|id| end(SOCKET, id)) {
            result.set_long(ended);
        }
    });
}

/// `{"channels":{"orders":3}}`
fn ask_channels(frame: &mut ExecuteData) -> Result<Zval, Thrown> {
    let prefix = Params::new(frame, 0, 1)?.string_or_null()?;
    let prefix = prefix.map(|prefix| text(prefix, beginning)).transpose()?;
    let query = prefix.map(|prefix| ("prefix", prefix));
    let answer = ask("/channels", query.as_slice(), None)?;
    let channels = part(&answer, "channels")
        .filter(|channels| {
            channels
                .array()
                .is_some_and(|all| all.values().all(Zval::is_long))
        })
        .ok_or_else(not_understood)?;
    Ok(channels.shallow_clone())
}

/// `{"members":[{"id":"7","info":{…}}]}`
fn ask_members(frame: &mut ExecuteData) -> Result<Zval, Thrown> {
    let channel = text(Params::new(frame, 1, 1)?.string()?, rules::channel)?;
    let answer = ask("/members", &[("channel", channel)], None)?;
    let member = |member: &Zval| {
        part(member, "id").is_some_and(Zval::is_string) && part(member, "info").is_some()
    };
    let members = part(&answer, "members")
        .filter(|members| {
            members
                .array()
                .is_some_and(|all| all.has_sequential_keys() && all.values().all(member))
        })
        .ok_or_else(not_understood)?;
    Ok(members.shallow_clone())
}

/// The keys of a question's body: who is to be disconnected.
const USER: &str = "user";
const SOCKET: &str = "socket_id";

fn user(frame: &mut ExecuteData) -> Result<&str, Thrown> {
    text(Params::new(frame, 1, 1)?.string()?, grant::any_user)
}

fn socket(frame: &mut ExecuteData) -> Result<&str, Thrown> {
    let id = Params::new(frame, 1, 1)?.string()?;
    let id = std::str::from_utf8(id).ok();
    id.filter(|id| grant::socket_id(id).is_some())
        .ok_or_else(|| zend::value_error(1, &line!("must be a socket id, such as \"123.456\"")))
}

/// The caller does not say which, so the form decides.
fn either(frame: &mut ExecuteData) -> Result<(&'static str, &str), Thrown> {
    let whom = user(frame)?;
    let key = match grant::names_socket(whom) {
        true => SOCKET,
        false => USER,
    };
    Ok((key, whom))
}

/// `{"ended":2}`
fn end(key: &str, whom: &str) -> Result<i64, Thrown> {
    let mut body = Zval::new_array();
    zend::set(&mut body, key, whom);
    let body = zend::json(&body, 1)?;
    let body = body.zend_str().map(|json| json.as_bytes());
    let answer = ask("/disconnect", &[], body)?;
    part(&answer, "ended")
        .and_then(Zval::long)
        .filter(|ended| *ended >= 0)
        .ok_or_else(not_understood)
}

/// askrd's answer, decoded. A question with a body is a POST.
///
/// # Errors
/// An `Askr\Exception` is thrown, if there is none.
pub fn ask(path: &str, query: &[(&str, &str)], body: Option<&[u8]>) -> Result<Zval, Thrown> {
    match answer(path, query, body) {
        Ok(json) => zend::from_json(json)?.ok_or_else(not_understood),
        Err(why) => Err(zend::exception(&why)),
    }
}

/// askrd's answer as it came, of a question without a body.
///
/// # Errors
/// An `Askr\Exception` is thrown, if there is none.
pub fn ask_for_bytes(path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Thrown> {
    answer(path, query, None).map_err(|why| zend::exception(&why))
}

/// Runs nothing of PHP's: it borrows the settings, and has memory that PHP does not know.
#[expect(
    clippy::result_large_err,
    reason = "a line is not on the heap, see `zend`; and it is rare"
)]
fn answer(path: &str, query: &[(&str, &str)], body: Option<&[u8]>) -> Result<Vec<u8>, Line> {
    let state = state();
    if !state.enabled.get() {
        return Err(line!("askrd is not asked: disabled by askr.enabled = 0"));
    }
    let socket = state.control.borrow();
    let Some(socket) = socket.as_deref() else {
        return Err(line!("askrd cannot be asked: askr.control names no socket"));
    };
    let ring = state.ring.borrow().name.to_string();
    let mut pairs = vec![("ring", ring.as_str())];
    pairs.extend_from_slice(query);
    let question = Question {
        path,
        query: &pairs,
        body,
    };
    control::ask(socket, &question, &LIMITS).map_err(|why| {
        let socket = socket.display();
        match why {
            Trouble::Refused { .. } => line!("askrd at {socket} {why}; askr.ring is {ring}"),
            _ => line!("askrd at {socket} {why}"),
        }
    })
}

/// Argument 1, if it is as it has to be.
///
/// # Errors
/// A ValueError is thrown, if not.
pub fn text(bytes: &[u8], check: fn(&[u8]) -> Result<(), Violation>) -> Result<&str, Thrown> {
    let utf8 = || std::str::from_utf8(bytes).map_err(|_| Violation::NotUtf8);
    check(bytes)
        .and_then(|()| utf8())
        .map_err(|why| zend::value_error(1, &line!("{why}")))
}

/// The beginning of channels' names; an empty one is that of all.
fn beginning(prefix: &[u8]) -> Result<(), Violation> {
    if prefix.len() > MAX_CHANNEL {
        return Err(Violation::TooLong { max: MAX_CHANNEL });
    }
    Ok(())
}

pub fn part<'a>(value: &'a Zval, key: &str) -> Option<&'a Zval> {
    value.array().and_then(|array| array.get(key))
}

#[cold]
pub fn not_understood() -> Thrown {
    zend::exception(&line!(
        "askrd gave an answer that askr.so does not understand; is askr.control its control socket, and are both of one version?"
    ))
}

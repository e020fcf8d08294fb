//! `askr_broadcast(array|string $channel, string $payload, ?string $event = null, ?string $id = null,
//! ?int $retry = null, ?string $except = null): bool`
//!
//! Everything that may run PHP code (coercion, `__toString()`, errors) comes before the publish; what
//! lies between the claim of a place in the ring and its commit only copies bytes.

use ext_php_rs::types::{ZendHashTable, Zval};
use ext_php_rs::zend::ExecuteData;
use shared::event::EventRef;
use shared::publisher::{Failure, PublishError};
use shared::rules::{self, MAX_CHANNELS, Violation};

use crate::failure;
use crate::line::line;
use crate::state::state;
use crate::zend::{self, ArrayOrString, Params, Thrown};

/// Numbers of the arguments, for messages.
mod argument {
    pub const CHANNEL: u32 = 1;
    pub const PAYLOAD: u32 = 2;
    pub const EVENT: u32 = 3;
    pub const ID: u32 = 4;
    pub const RETRY: u32 = 5;
    pub const EXCEPT: u32 = 6;
}

pub extern "C" fn handler(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        // After a throw the result is left null, as core functions do.
        if let Ok(published) = broadcast(frame) {
            result.set_bool(published);
        }
    });
}

fn broadcast(frame: &mut ExecuteData) -> Result<bool, Thrown> {
    let mut params = Params::new(frame, 2, 6)?;
    let channel = params.array_or_string()?;
    let payload = params.string()?;
    let event = params.string_or_null()?;
    let id = params.string_or_null()?;
    let retry = params.long_or_null()?;
    let except = params.string_or_null()?;

    let message = Message {
        payload,
        event,
        id,
        retry,
        except,
    };
    match channel {
        ArrayOrString::String(name) => {
            check(argument::CHANNEL, rules::channel(name))?;
            message.publish_to(&[name])
        }
        ArrayOrString::Array(list) => message.publish_to_array(list),
    }
}

/// The arguments other than the channel.
struct Message<'a> {
    payload: &'a [u8],
    event: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    retry: Option<i64>,
    except: Option<&'a [u8]>,
}

impl Message<'_> {
    /// Kept out of line: a call with one channel should not pay for the stack of a hundred.
    #[inline(never)]
    fn publish_to_array(&self, list: &ZendHashTable) -> Result<bool, Thrown> {
        let converted = as_strings(list)?;
        let strings = converted.as_ref().and_then(Zval::array).unwrap_or(list);
        let mut channels: [&[u8]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
        let mut count = 0;
        for name in strings
            .values()
            .filter_map(|value| value.dereference().zend_str())
        {
            let name = name.as_bytes();
            check(argument::CHANNEL, rules::channel(name))?;
            // A channel named twice gets the event once.
            if !channels[..count].contains(&name) {
                channels[count] = name;
                count += 1;
            }
        }
        self.publish_to(&channels[..count])
    }

    /// Publishes to channels that were checked.
    fn publish_to(&self, channels: &[&[u8]]) -> Result<bool, Thrown> {
        // Most payloads are ASCII, JSON above all; that is the quicker question.
        if !self.payload.is_ascii() && std::str::from_utf8(self.payload).is_err() {
            return Err(refuse(argument::PAYLOAD, Violation::NotUtf8));
        }
        check(argument::EVENT, self.event.map_or(Ok(()), rules::event))?;
        check(argument::ID, self.id.map_or(Ok(()), rules::id))?;
        let retry = self.retry.map(milliseconds).transpose()?;
        check(argument::EXCEPT, self.except.map_or(Ok(()), rules::except))?;

        let state = state();
        if !state.enabled.get() {
            return Ok(false);
        }
        let event = EventRef {
            channels,
            event: self.event,
            id: self.id,
            retry,
            except: self.except,
            data: self.payload,
            ..EventRef::default()
        };
        // A statement of its own: the borrow ends before anything of PHP's is called.
        let published = state.publisher.borrow_mut().publish(&event);
        match published {
            Ok(_) => {
                failure::over();
                Ok(true)
            }
            Err(error) => self.not_published(error),
        }
    }

    /// An event too large for the ring is the caller's mistake, the rest is an outage.
    #[cold]
    fn not_published(&self, error: PublishError) -> Result<bool, Thrown> {
        if error.failure != Failure::TooLarge {
            return failure::report(error);
        }
        drop(error);
        let limit = state()
            .publisher
            .borrow_mut()
            .max_payload()
            .unwrap_or_default();
        let size = self.payload.len();
        let why = line!("must be at most {limit} bytes long for this ring, {size} given");
        Err(zend::value_error(argument::PAYLOAD, &why))
    }
}

/// Checks that a list of channels has 1 to 100 elements, and makes strings of them where needed.
///
/// The elements are taken as `implode()` takes them, whatever `strict_types` says (it is about
/// parameters): numbers, booleans and Stringable objects such as Laravel's channels are converted.
/// What has no sensible name (null, arrays, other objects, resources) is a TypeError.
///
/// Returns a new array only if something had to be converted: conversion may run PHP code that
/// changes what references in the first array lead to.
fn as_strings(list: &ZendHashTable) -> Result<Option<Zval>, Thrown> {
    if list.is_empty() {
        return Err(refuse(argument::CHANNEL, Violation::Empty));
    }
    if list.len() > MAX_CHANNELS {
        let why = line!(
            "must have at most {MAX_CHANNELS} elements, {} given",
            list.len()
        );
        return Err(zend::value_error(argument::CHANNEL, &why));
    }
    let mut convert = false;
    for value in list.values().map(Zval::dereference) {
        if value.is_string() {
            continue;
        }
        if !(value.is_long() || value.is_double() || value.is_bool() || zend::is_stringable(value))
        {
            let found = zend::type_name(value).to_string_lossy();
            let why = line!("must be an array of strings, {found} given");
            drop(found);
            return Err(zend::type_error(argument::CHANNEL, &why));
        }
        convert = true;
    }
    if !convert {
        return Ok(None);
    }
    let mut strings = Zval::new_array();
    for value in list.values().map(Zval::dereference) {
        let string = zend::to_string(value)?;
        if let Some(array) = strings.array_mut() {
            // Appending to a list of at most 100 cannot fail.
            let _ = array.push(string);
        }
    }
    Ok(Some(strings))
}

/// `retry:` is digits only on the wire; a browser takes up to 32 bits of milliseconds.
fn milliseconds(retry: i64) -> Result<u32, Thrown> {
    u32::try_from(retry).map_err(|_| {
        let why = line!("must be between 0 and {} (milliseconds)", u32::MAX);
        zend::value_error(argument::RETRY, &why)
    })
}

#[inline]
fn check(argument: u32, verdict: Result<(), Violation>) -> Result<(), Thrown> {
    verdict.map_err(|why| refuse(argument, why))
}

#[cold]
fn refuse(argument: u32, why: Violation) -> Thrown {
    zend::value_error(argument, &line!("{why}"))
}

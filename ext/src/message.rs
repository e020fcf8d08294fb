//! An event as it is given to PHP's functions, and its way to one that may be published: the rules for each field,
//! and the errors that name what was wrong where.

use ext_php_rs::types::{ZendHashTable, Zval};
use shared::event::EventRef;
use shared::rules::{self, MAX_CHANNELS, Violation};

use crate::line::{Line, line};
use crate::strict;
use crate::zend::{self, ArrayOrString, Thrown};

/// The fields of an event, in the order of the arguments of `askr_broadcast()`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Channel,
    Payload,
    Event,
    Id,
    Retry,
    Except,
    Key,
}

impl Field {
    pub const ALL: [Self; 7] = [
        Self::Channel,
        Self::Payload,
        Self::Event,
        Self::Id,
        Self::Retry,
        Self::Except,
        Self::Key,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Payload => "payload",
            Self::Event => "event",
            Self::Id => "id",
            Self::Retry => "retry",
            Self::Except => "except",
            Self::Key => "key",
        }
    }
}

/// Where a field was given: as an argument of its own, or in an element of the first one.
#[derive(Clone, Copy)]
pub enum Place {
    Arguments,
    Element(usize),
}

impl Place {
    /// Throws a ValueError.
    #[cold]
    pub fn refuse(self, field: Field, why: &Line) -> Thrown {
        match self {
            Self::Arguments => zend::value_error(field as u32 + 1, why),
            Self::Element(index) => zend::value_error(1, &in_element(index, field, why)),
        }
    }

    /// Throws a TypeError.
    #[cold]
    pub fn refuse_type(self, field: Field, why: &Line) -> Thrown {
        match self {
            Self::Arguments => zend::type_error(field as u32 + 1, why),
            Self::Element(index) => zend::type_error(1, &in_element(index, field, why)),
        }
    }

    #[inline]
    fn check(self, field: Field, verdict: Result<(), Violation>) -> Result<(), Thrown> {
        verdict.map_err(|why| self.refuse(field, &line!("{why}")))
    }
}

fn in_element(index: usize, field: Field, why: &Line) -> Line {
    let (name, why) = (field.name(), why.as_str());
    line!("element {index}: \"{name}\" {why}")
}

/// An event's fields, of the right types.
pub struct Message<'a> {
    pub place: Place,
    pub channel: ArrayOrString<'a>,
    pub payload: &'a [u8],
    pub event: Option<&'a [u8]>,
    pub id: Option<&'a [u8]>,
    pub retry: Option<i64>,
    pub except: Option<&'a [u8]>,
    pub key: Option<&'a [u8]>,
}

impl Message<'_> {
    /// Hands over the event if all fields are as they have to be. May run PHP code before.
    #[inline]
    pub fn with_event<T>(
        &self,
        use_it: impl FnOnce(&EventRef<'_>) -> Result<T, Thrown>,
    ) -> Result<T, Thrown> {
        match self.channel {
            ArrayOrString::String(name) => {
                self.place.check(Field::Channel, rules::channel(name))?;
                self.with_channels(&[name], use_it)
            }
            ArrayOrString::Array(list) => self.with_list(list, use_it),
        }
    }

    /// Kept out of line: a call with one channel should not pay for the stack of a hundred.
    #[inline(never)]
    fn with_list<T>(
        &self,
        list: &ZendHashTable,
        use_it: impl FnOnce(&EventRef<'_>) -> Result<T, Thrown>,
    ) -> Result<T, Thrown> {
        let converted = as_strings(self.place, list)?;
        let strings = converted.as_ref().and_then(Zval::array).unwrap_or(list);
        let mut channels: [&[u8]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
        let mut count = 0;
        for name in strings
            .values()
            .filter_map(|value| value.dereference().zend_str())
        {
            let name = name.as_bytes();
            self.place.check(Field::Channel, rules::channel(name))?;
            // A channel named twice gets the event once.
            if !channels[..count].contains(&name) {
                channels[count] = name;
                count += 1;
            }
        }
        self.with_channels(&channels[..count], use_it)
    }

    /// With channels that were checked.
    #[inline]
    fn with_channels<T>(
        &self,
        channels: &[&[u8]],
        use_it: impl FnOnce(&EventRef<'_>) -> Result<T, Thrown>,
    ) -> Result<T, Thrown> {
        let place = self.place;
        // Most payloads are ASCII, JSON above all; that is the quicker question.
        if !self.payload.is_ascii() && std::str::from_utf8(self.payload).is_err() {
            place.check(Field::Payload, Err(Violation::NotUtf8))?;
        }
        place.check(Field::Event, self.event.map_or(Ok(()), rules::event))?;
        strict::check(self.event).map_err(|why| place.refuse(Field::Event, &why))?;
        place.check(Field::Id, self.id.map_or(Ok(()), rules::id))?;
        let retry = match self.retry {
            Some(retry) => Some(self.milliseconds(retry)?),
            None => None,
        };
        place.check(Field::Except, self.except.map_or(Ok(()), rules::except))?;
        place.check(Field::Key, self.key.map_or(Ok(()), rules::key))?;
        use_it(&EventRef {
            channels,
            event: self.event,
            id: self.id,
            retry,
            except: self.except,
            key: self.key,
            data: self.payload,
            ..EventRef::default()
        })
    }

    /// `retry:` is digits only on the wire; a browser takes up to 32 bits of milliseconds.
    fn milliseconds(&self, retry: i64) -> Result<u32, Thrown> {
        u32::try_from(retry).map_err(|_| {
            let why = line!("must be between 0 and {} (milliseconds)", u32::MAX);
            self.place.refuse(Field::Retry, &why)
        })
    }

    /// Throws a ValueError for a payload of more than `limit` bytes.
    #[cold]
    pub fn too_large(&self, limit: u64) -> Thrown {
        let size = self.payload.len();
        let why = line!("must be at most {limit} bytes long for this ring, {size} given");
        self.place.refuse(Field::Payload, &why)
    }
}

/// A list of channels for later: nothing in it is a reference, which PHP code could change.
pub fn strings(place: Place, list: Zval) -> Result<Zval, Thrown> {
    let converted = list
        .array()
        .map(|list| as_strings(place, list))
        .transpose()?;
    Ok(converted.flatten().unwrap_or(list))
}

/// Checks that a list of channels has 1 to 100 elements, and makes strings of them where needed.
///
/// The elements are taken as `implode()` takes them, whatever `strict_types` says (it is about
/// parameters): numbers, booleans and Stringable objects such as Laravel's channels are converted.
/// What has no sensible name (null, arrays, other objects, resources) is a TypeError.
///
/// Returns a new array only if something had to be converted, or was a reference: conversion may run PHP code that
/// changes what references lead to.
fn as_strings(place: Place, list: &ZendHashTable) -> Result<Option<Zval>, Thrown> {
    if list.is_empty() {
        return Err(place.refuse(Field::Channel, &line!("{}", Violation::Empty)));
    }
    if list.len() > MAX_CHANNELS {
        let why = line!(
            "must have at most {MAX_CHANNELS} elements, {} given",
            list.len()
        );
        return Err(place.refuse(Field::Channel, &why));
    }
    let mut convert = false;
    for value in list.values() {
        if value.is_string() {
            continue;
        }
        let value = value.dereference();
        let plain = value.is_string() || value.is_long() || value.is_double() || value.is_bool();
        if !plain && !zend::is_stringable(value) {
            let found = zend::type_name(value).to_string_lossy();
            let why = line!("must be an array of strings, {found} given");
            drop(found);
            return Err(place.refuse_type(Field::Channel, &why));
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

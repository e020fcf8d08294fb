//! `askr_broadcast_all(array $events): int`
//!
//! First all events are taken, then all are checked, then they are published one after another, and askrd is woken
//! once: what may run PHP code or be refused comes before the first is published. What was taken lies in an array
//! of PHP's, which nobody else knows: PHP code that runs meanwhile cannot change it, and PHP frees it if it ends the
//! request.

use ext_php_rs::types::{ZendHashTable, Zval};
use ext_php_rs::zend::ExecuteData;
use shared::publisher::PublishError;

use crate::failure;
use crate::line::{Line, line};
use crate::message::{Field, Message, Place};
use crate::state::state;
use crate::zend::{self, ArrayOrString, Params, Thrown};

/// Events of one call. More are published by several: each event is taken before the first is published, and askrd
/// begins to read when the last is.
const MAX_EVENTS: usize = 1000;

pub extern "C" fn handler(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(published) = broadcast_all(frame) {
            // At most `MAX_EVENTS`.
            result.set_long(published as i64);
        }
    });
}

fn broadcast_all(frame: &mut ExecuteData) -> Result<usize, Thrown> {
    let events = Params::new(frame, 1, 1)?.array()?;
    if events.len() > MAX_EVENTS {
        let why = line!(
            "must have at most {MAX_EVENTS} elements, {} given",
            events.len()
        );
        return Err(zend::value_error(1, &why));
    }
    let state = state();
    let limit = if state.enabled.get() && !events.is_empty() {
        state.publisher.borrow_mut().max_payload()
    } else {
        None
    };
    let mut taken = Zval::new_array();
    for (index, element) in events.values().enumerate() {
        take(index, element, &mut taken)?;
    }
    // From here on no PHP code runs, so what is right now is right when it is published.
    for index in 0..events.len() {
        let message = message(index, &taken);
        if let Some(limit) = limit.filter(|limit| message.payload.len() as u64 > *limit) {
            return Err(message.too_large(limit));
        }
        message.with_event(|_| Ok(()))?;
    }
    if !state.enabled.get() {
        return Ok(0);
    }
    publish(&taken, events.len())
}

/// Publishes what was taken, up to the first event that cannot be.
fn publish(taken: &Zval, count: usize) -> Result<usize, Thrown> {
    let state = state();
    let mut published = 0;
    let mut failed: Option<PublishError> = None;
    while published < count && failed.is_none() {
        message(published, taken).with_event(|event| {
            match state.publisher.borrow_mut().publish_unwoken(event) {
                Ok(_) => published += 1,
                Err(error) => failed = Some(error),
            }
            Ok(())
        })?;
    }
    state.publisher.borrow_mut().wake();
    match failed {
        None => failure::over(),
        Some(error) => failure::report_all(error, published, count)?,
    }
    Ok(published)
}

/// Appends an element's fields, in the order of `Field::ALL`; null for what is not there.
fn take(index: usize, element: &Zval, taken: &mut Zval) -> Result<(), Thrown> {
    // Held, as PHP code that runs below may change what a reference leads to.
    let element = element.dereference().shallow_clone();
    let Some(fields) = element.array() else {
        let found = zend::type_name(&element).to_string_lossy();
        let why = line!("element {index}: must be of type array, {found} given");
        drop(found);
        return Err(zend::type_error(1, &why));
    };
    let given = |field: Field| fields.get(field.name()).map(Zval::dereference);
    let known = Field::ALL
        .into_iter()
        .filter(|&field| given(field).is_some());
    if known.count() != fields.len() {
        return Err(unknown_key(index, fields));
    }
    let place = Place::Element(index);
    for field in Field::ALL {
        let value = match given(field).filter(|value| !value.is_null()) {
            Some(value) => value.shallow_clone(),
            None if matches!(field, Field::Channel | Field::Payload) => {
                return Err(place.refuse(field, &line!("is missing")));
            }
            None => Zval::null(),
        };
        let value = coerced(place, field, value)?;
        if let Some(taken) = taken.array_mut() {
            // Appending to a list cannot fail.
            let _ = taken.push(value);
        }
    }
    Ok(())
}

/// The value as an argument of the field's type would be, by the rules of the calling file.
fn coerced(place: Place, field: Field, value: Zval) -> Result<Zval, Thrown> {
    let wanted = match field {
        _ if value.is_null() => return Ok(value),
        Field::Channel if value.array().is_some() => {
            return crate::message::strings(place, value);
        }
        Field::Retry => "?int",
        Field::Channel => "array|string",
        Field::Payload => "string",
        Field::Event | Field::Id | Field::Except | Field::Key => "?string",
    };
    let found = line!("{}", zend::type_name(&value).to_string_lossy());
    let coerced = match field {
        Field::Retry => zend::as_long(value)?,
        _ => zend::as_string(value)?,
    };
    coerced.ok_or_else(|| {
        let found = found.as_str();
        place.refuse_type(field, &line!("must be of type {wanted}, {found} given"))
    })
}

#[cold]
fn unknown_key(index: usize, fields: &ZendHashTable) -> Thrown {
    let name = |key: String| {
        let known = Field::ALL.into_iter().any(|field| field.name() == key);
        (!known).then(|| line!("{key}"))
    };
    let unknown = fields.iter().find_map(|(key, _)| name(key.to_string()));
    let unknown = unknown.as_ref().map(Line::as_str).unwrap_or_default();
    zend::value_error(
        1,
        &line!(
            "element {index}: unknown key \"{unknown}\", allowed are channel, payload, event, id, retry, except and key"
        ),
    )
}

/// The event at `index` of what was taken.
fn message(index: usize, taken: &Zval) -> Message<'_> {
    let fields = taken.array();
    let value = |field: Field| {
        let at = (index * Field::ALL.len() + field as usize) as i64;
        fields.and_then(|fields| fields.get_index(at))
    };
    let string = |field| {
        let string = value(field).and_then(Zval::zend_str);
        string.map(|string| string.as_bytes())
    };
    let channel = match value(Field::Channel).and_then(Zval::array) {
        Some(list) => ArrayOrString::Array(list),
        None => ArrayOrString::String(string(Field::Channel).unwrap_or_default()),
    };
    Message {
        place: Place::Element(index),
        channel,
        payload: string(Field::Payload).unwrap_or_default(),
        event: string(Field::Event),
        id: string(Field::Id),
        retry: value(Field::Retry).and_then(Zval::long),
        except: string(Field::Except),
        key: string(Field::Key),
    }
}

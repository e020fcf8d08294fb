//! What the ring still holds of a channel: `askr_history(string $channel, int $limit = 100, ?string $since = null,
//! ?string $before = null): array` and `askr_forget(string $channel): int`.
//!
//! askrd is asked, as in `audience`. Its pages are bounded in bytes and in work, so one may have no event and say where
//! to go on; such pages are passed over here. A gap becomes an element of the list, as it is an event of a stream.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ext_php_rs::types::Zval;
use ext_php_rs::zend::ExecuteData;
use shared::control::LIMITS;
use shared::cursor::{Cursor, CursorText};
use shared::rules;
use shared::vector::Vector;

use crate::audience::{ask, ask_for_bytes, not_understood, part, text};
use crate::line::line;
use crate::state::state;
use crate::zend::{self, Params, Thrown};

/// Events of one call, as askrd has it.
const DEFAULT: i64 = 100;
const MOST: i64 = 1000;

pub extern "C" fn history(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(events) = ask_history(frame) {
            *result = events;
        }
    });
}

pub extern "C" fn forget(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(forgotten) = ask_forget(frame) {
            result.set_long(forgotten);
        }
    });
}

/// `{"forgotten":3}`
fn ask_forget(frame: &mut ExecuteData) -> Result<i64, Thrown> {
    let channel = text(Params::new(frame, 1, 1)?.string()?, rules::channel)?;
    let answer = ask("/forget", &[("channel", channel)], Some(b""))?;
    part(&answer, "forgotten")
        .and_then(Zval::long)
        .filter(|forgotten| *forgotten >= 0)
        .ok_or_else(not_understood)
}

fn ask_history(frame: &mut ExecuteData) -> Result<Zval, Thrown> {
    let mut params = Params::new(frame, 1, 4)?;
    let channel = params.string()?;
    let limit = params.long_or_default(DEFAULT)?;
    let (since, before) = (params.string_or_null()?, params.string_or_null()?);
    let channel = text(channel, rules::channel)?;
    if !(1..=MOST).contains(&limit) {
        let why = line!("must be between 1 and {MOST}");
        return Err(zend::value_error(2, &why));
    }
    let wanted = Window {
        since: since.map(|since| cursor(3, since)).transpose()?,
        before: before.map(|before| cursor(4, before)).transpose()?,
    };
    let mut window = wanted;
    // What lies at or before it was published before askrd is asked, so the first page knows of it.
    let known = state().publisher.borrow_mut().cursor().ok();
    let started = Instant::now();
    let mut gaps = Zval::new_array();
    loop {
        let answer = page(channel, limit, &window)?;
        let events = part(&answer, "events").ok_or_else(not_understood)?;
        let next = next(&answer)?;
        push_gap(&mut gaps, &answer)?;
        let first = events.array().and_then(|events| events.get_index(0));
        match next {
            Some(next) if first.is_none() => window.go_on(next),
            _ => return joined(&gaps, events, wanted.place(first, known)),
        }
        if started.elapsed() > LIMITS.all {
            return Err(zend::exception(&line!(
                "askrd has searched the ring for the channel's events and found none in time; try again"
            )));
        }
    }
}

/// What is asked for: events after one place, before another.
#[derive(Clone, Copy)]
struct Window {
    since: Option<Place>,
    before: Option<Place>,
}

/// A cursor's text, of one host or of several: on the stack, as calls of PHP may never return.
#[derive(Clone, Copy)]
struct Place {
    len: usize,
    text: [u8; Vector::MAX_LEN],
}

impl Place {
    fn parse(text: &[u8]) -> Option<Self> {
        let is_one = Cursor::parse(text).is_some() || Vector::parse(text).is_some();
        is_one.then(|| {
            let mut place = [0; Vector::MAX_LEN];
            place[..text.len()].copy_from_slice(text);
            let len = text.len();
            Self { len, text: place }
        })
    }

    fn of(cursor: Cursor) -> Option<Self> {
        Self::parse(CursorText::new().of(cursor))
    }

    /// ASCII.
    fn text(&self) -> &str {
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }
}

impl Window {
    fn go_on(&mut self, next: Place) {
        match self.since {
            Some(_) => self.since = Some(next),
            None => self.before = Some(next),
        }
    }

    /// The cursor of the gaps before `first`: whoever goes on there gets everything, and not the same gaps for ever.
    fn place(&self, first: Option<&Zval>, known: Option<Cursor>) -> Option<Place> {
        let first = first
            .and_then(|event| part(event, "cursor"))
            .and_then(Zval::zend_str)
            .and_then(|cursor| Place::parse(cursor.as_bytes()));
        let now = known.and_then(Place::of);
        match (self.since, first) {
            // From the oldest on: the events are still to come, or there are none up to now.
            (Some(since), Some(_)) => Some(since),
            (Some(since), None) => self.before.or(now).or(Some(since)),
            // From the newest back: before the first there may be more; without one there is nothing.
            (None, Some(first)) => Some(first),
            (None, None) => {
                let before = self
                    .before
                    .and_then(|before| Cursor::parse(before.text().as_bytes()));
                let end = before.or(known);
                end.and_then(|end| Place::of(Cursor { seq: 0, ..end }))
            }
        }
    }
}

/// A page: `events` with the keys `event`, `id`, `cursor`, `data` and `time`, `gap` and `next`.
fn page(channel: &str, limit: i64, window: &Window) -> Result<Zval, Thrown> {
    let limit = line!("{limit}");
    let mut query = [("channel", channel); 5];
    query[1] = ("limit", limit.as_str());
    query[2] = ("form", "parts");
    let mut len = 3;
    for (name, end) in [("since", &window.since), ("before", &window.before)] {
        if let Some(end) = end {
            query[len] = (name, end.text());
            len += 1;
        }
    }
    zend::with_memory(ask_for_bytes("/history", &query[..len])?, of_parts)
}

/// PHP's decoder of JSON would look at each byte of the data. So the data comes behind the JSON.
fn of_parts(answer: &[u8]) -> Result<Zval, Thrown> {
    let (json, mut data) = parts(answer).ok_or_else(not_understood)?;
    let mut page = zend::from_json(json.to_vec())?.ok_or_else(not_understood)?;
    let rows = part(&page, "events").and_then(Zval::array);
    let mut events = Zval::new_array();
    for row in rows.ok_or_else(not_understood)?.values() {
        let event = event(row, &mut data).ok_or_else(not_understood)?;
        if let Some(events) = events.array_mut() {
            // Appending to a list cannot fail.
            let _ = events.push(event);
        }
    }
    zend::set(&mut page, "events", events);
    Ok(page)
}

/// The JSON, whose length is in the first line, and what is behind it.
fn parts(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let length = std::str::from_utf8(&answer[..end]).ok()?.parse().ok()?;
    answer[end + 1..].split_at_checked(length)
}

/// `[event, id, cursor, bytes, microseconds]`, and the event's bytes from the front of `data`.
fn event(row: &Zval, data: &mut &[u8]) -> Option<Zval> {
    let row = row.array()?;
    let text_or_null = |at| {
        let value = row.get_index(at)?;
        (value.is_string() || value.is_null()).then_some(value)
    };
    let (name, id) = (text_or_null(0)?, text_or_null(1)?);
    let cursor = row.get_index(2).filter(|cursor| cursor.is_string())?;
    let bytes = usize::try_from(row.get_index(3)?.long()?).ok()?;
    let time = row.get_index(4)?.long()? as f64 / 1e6;
    let (bytes, rest) = data.split_at_checked(bytes)?;
    *data = rest;
    let mut text = Zval::new();
    zend::set_string(&mut text, bytes);
    let mut event = Zval::new_array();
    zend::set(&mut event, "event", name.shallow_clone());
    zend::set(&mut event, "id", id.shallow_clone());
    zend::set(&mut event, "cursor", cursor.shallow_clone());
    zend::set(&mut event, "data", text);
    zend::set(&mut event, "time", time);
    Some(event)
}

fn cursor(argument: u32, text: &[u8]) -> Result<Place, Thrown> {
    Place::parse(text).ok_or_else(|| {
        let why = line!(
            "must be a cursor: 12 hexadecimal digits, a dash, and a number, or a tilde and base64url"
        );
        zend::value_error(argument, &why)
    })
}

fn next(answer: &Zval) -> Result<Option<Place>, Thrown> {
    let next = part(answer, "next").ok_or_else(not_understood)?;
    if next.is_null() {
        return Ok(None);
    }
    let next = next.zend_str().map(|next| next.as_bytes());
    let next = next.and_then(Place::parse).ok_or_else(not_understood)?;
    Ok(Some(next))
}

fn push_gap(gaps: &mut Zval, answer: &Zval) -> Result<(), Thrown> {
    let gap = part(answer, "gap").ok_or_else(not_understood)?;
    if let Some(gaps) = gaps.array_mut().filter(|_| !gap.is_null()) {
        // Appending to a list cannot fail.
        let _ = gaps.push(gap.shallow_clone());
    }
    Ok(())
}

/// A gap as an element: an event as a stream has it.
fn element(gap: &Zval, place: Option<Place>) -> Result<Zval, Thrown> {
    let number = |key| match part(gap, key) {
        Some(number) if number.is_null() => Ok(line!("null")),
        Some(number) => match number.long().filter(|number| *number >= 0) {
            Some(number) => Ok(line!("{number}")),
            None => Err(not_understood()),
        },
        None => Err(not_understood()),
    };
    let (lost, at_most) = (number("lost")?, number("at_most")?);
    let data = line!(
        "{{\"lost\":{},\"at_most\":{}}}",
        lost.as_str(),
        at_most.as_str()
    );
    let place = place.as_ref().map(Place::text).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut element = Zval::new_array();
    zend::set(&mut element, "event", "askr:gap");
    zend::set(&mut element, "id", Zval::null());
    zend::set(&mut element, "cursor", place);
    zend::set(&mut element, "data", data.as_str());
    zend::set(&mut element, "time", now.unwrap_or_default().as_secs_f64());
    Ok(element)
}

/// The gaps, and behind them the events.
fn joined(gaps: &Zval, events: &Zval, place: Option<Place>) -> Result<Zval, Thrown> {
    let gaps = gaps.array().filter(|gaps| !gaps.is_empty());
    let (Some(gaps), Some(events)) = (gaps, events.array()) else {
        return Ok(events.shallow_clone());
    };
    let mut all = Zval::new_array();
    let elements = gaps.values().map(|gap| element(gap, place));
    for value in elements.chain(events.values().map(|event| Ok(event.shallow_clone()))) {
        let value = value?;
        if let Some(all) = all.array_mut() {
            // Appending to a list cannot fail.
            let _ = all.push(value);
        }
    }
    Ok(all)
}

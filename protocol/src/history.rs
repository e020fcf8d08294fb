//! A channel's history, one page at a time: what is asked for, and the page as JSON. Pure.
//!
//! ```json
//! {"events":[{"event":null,"id":null,"cursor":"…","data":"…","time":1753000000.000001}],
//!  "gap":{"lost":3,"at_most":3},"next":"…"}
//! ```
//!
//! In parts, for a reader to whom JSON is dear: the length of the JSON in decimal and a line feed, the JSON, in which each
//! event is `[event,id,cursor,bytes,microseconds]`, and behind it the data of all events, one after another.

use std::io::Write;

use serde_json::to_writer;
use shared::cursor::CursorText;
use shared::event::Event;

use crate::gap::Gap;
use crate::query;
use crate::wire_cursor::{ClientCursor, WireCursor};

/// Events of a page: at most, and when nothing is said.
pub const MOST: usize = 1000;
pub const DEFAULT: usize = 100;

/// Which of a channel's events are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Events at most.
    pub limit: usize,
    /// Those after this one, the oldest first.
    pub since: Option<ClientCursor>,
    /// Those before this one: without `since` the newest of them.
    pub before: Option<ClientCursor>,
}

/// Why a query is not one for a page. `Display` is one line for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("{0}")]
    Malformed(#[from] query::Malformed),
    #[error("limit must be a number from 1 to {MOST}")]
    Limit,
    #[error("{0} {form}", form = ClientCursor::FORM)]
    Cursor(&'static str),
}

impl Window {
    /// The parameters `limit`, `since` and `before` of a query; others are not looked at.
    ///
    /// # Errors
    /// If one of them is not what it must be.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let cursor = |name| {
            let given = query::parameter(text, name)?;
            let parse =
                |text: String| ClientCursor::parse(text.as_bytes()).ok_or(Invalid::Cursor(name));
            given.map(parse).transpose()
        };
        let limit = match query::parameter(text, "limit")? {
            None => DEFAULT,
            // Not the sign that `parse` takes.
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                let limit = text.parse().map_err(|_| Invalid::Limit)?;
                Some(limit)
                    .filter(|limit| (1..=MOST).contains(limit))
                    .ok_or(Invalid::Limit)?
            }
            Some(_) => return Err(Invalid::Limit),
        };
        Ok(Self {
            limit,
            since: cursor("since")?,
            before: cursor("before")?,
        })
    }

    /// Whether a page is filled from its newest event on.
    pub fn is_backward(&self) -> bool {
        self.since.is_none()
    }
}

/// How a page is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Json,
    Parts,
}

/// The events of a page in the making.
#[derive(Default)]
pub struct Rows {
    form: Form,
    cursor: CursorText,
    bytes: Vec<u8>,
    /// Data beside the rows, of a page in parts.
    data: Vec<u8>,
    /// Where each row ends, and its data.
    ends: Vec<(usize, usize)>,
}

/// Bytes of a page beside its rows, and of each row beside its own.
const AROUND: usize = 128;

impl Rows {
    pub fn new(form: Form) -> Self {
        Self {
            form,
            ..Self::default()
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes that are held.
    pub fn size(&self) -> usize {
        self.bytes.capacity()
            + self.data.capacity()
            + self.ends.capacity() * size_of::<(usize, usize)>()
    }

    /// Adds an event if the page is no longer than `most` bytes with it, or has no other.
    pub fn push(&mut self, event: &Event, cursor: WireCursor<'_>, most: usize) -> bool {
        let before = (self.bytes.len(), self.data.len());
        let cursor = match cursor {
            WireCursor::Cursor(cursor) => self.cursor.of(cursor),
            WireCursor::Vector(text) => text.as_bytes(),
        };
        match self.form {
            Form::Json => row(&mut self.bytes, event, cursor),
            Form::Parts => {
                short_row(&mut self.bytes, event, cursor);
                self.data.extend_from_slice(event.data());
            }
        }
        let length = self.bytes.len() + self.data.len() + self.ends.len() + AROUND;
        if length > most && !self.is_empty() {
            self.bytes.truncate(before.0);
            self.data.truncate(before.1);
            return false;
        }
        self.ends.push((self.bytes.len(), self.data.len()));
        true
    }

    /// The page. `backward`: the newest event was pushed first.
    pub fn page(&self, backward: bool, gap: &Gap, next: Option<WireCursor<'_>>) -> Vec<u8> {
        let starts = std::iter::once((0, 0)).chain(self.ends.iter().copied());
        let mut events: Vec<_> = starts.zip(self.ends.iter().copied()).collect();
        if backward {
            events.reverse();
        }
        let mut page = Vec::with_capacity(self.bytes.len() + events.len() + AROUND);
        page.extend_from_slice(br#"{"events":["#);
        for ((from, _), (to, _)) in &events {
            page.extend_from_slice(&self.bytes[*from..*to]);
            page.push(b',');
        }
        if !self.is_empty() {
            page.pop();
        }
        page.extend_from_slice(br#"],"gap":"#);
        match gap.is_none() {
            true => page.extend_from_slice(b"null"),
            false => page.extend_from_slice(gap.to_json().as_bytes()),
        }
        // Writing to memory cannot fail.
        let _ = match next {
            Some(next) => write!(page, r#","next":"{next}"}}"#),
            None => write!(page, r#","next":null}}"#),
        };
        if self.form == Form::Json {
            return page;
        }
        let mut parts = format!("{}\n", page.len()).into_bytes();
        parts.reserve_exact(page.len() + self.data.len());
        parts.extend_from_slice(&page);
        for ((_, from), (_, to)) in &events {
            parts.extend_from_slice(&self.data[*from..*to]);
        }
        parts
    }
}

fn short_row(out: &mut Vec<u8>, event: &Event, cursor: &[u8]) {
    let micros = event.published_ns() / 1000;
    // Writing to memory cannot fail.
    out.push(b'[');
    let _ = to_writer(&mut *out, &event.event());
    out.push(b',');
    let _ = to_writer(&mut *out, &event.id());
    let bytes = event.data().len();
    out.extend_from_slice(br#",""#);
    out.extend_from_slice(cursor);
    let _ = write!(out, r#"",{bytes},{micros}]"#);
}

fn row(out: &mut Vec<u8>, event: &Event, cursor: &[u8]) {
    let micros = event.published_ns() / 1000;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    // Writing to memory cannot fail.
    out.extend_from_slice(br#"{"event":"#);
    let _ = to_writer(&mut *out, &event.event());
    out.extend_from_slice(br#","id":"#);
    let _ = to_writer(&mut *out, &event.id());
    out.extend_from_slice(br#","cursor":""#);
    out.extend_from_slice(cursor);
    out.extend_from_slice(br#"","data":"#);
    let _ = to_writer(&mut *out, event.data_str());
    let _ = write!(out, r#","time":{seconds}.{micros:06}}}"#);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{cursor, event};

    #[test]
    fn a_window_has_a_limit_and_two_cursors() {
        let window = Window::parse("").unwrap();
        assert_eq!(
            (window.limit, window.since, window.before),
            (100, None, None)
        );
        let window =
            Window::parse("channel=a&limit=1000&since=0a0b0c0d0e0f-7&before=0a0b0c0d0e0f-9");
        let window = window.unwrap();
        let at = |seq| Some(ClientCursor::Cursor(cursor(seq)));
        assert_eq!((window.limit, &window.since), (1000, &at(7)));
        assert_eq!(window.before, at(9));
        assert!(!window.is_backward());
        for (query, reason) in [
            ("limit=0", "limit must be a number from 1 to 1000"),
            ("limit=1001", "limit must be a number from 1 to 1000"),
            ("limit=%2B5", "limit must be a number from 1 to 1000"),
            ("limit=", "limit must be a number from 1 to 1000"),
            (
                "limit=99999999999999999999",
                "limit must be a number from 1 to 1000",
            ),
            ("limit=1&limit=2", "limit must be given once"),
            (
                "before=%zz",
                "before has a % without two hexadecimal digits",
            ),
            (
                "since=x",
                "since must be a cursor: 12 hexadecimal digits, a dash, and a number, or a tilde and base64url",
            ),
            (
                "before=~",
                "before must be a cursor: 12 hexadecimal digits, a dash, and a number, or a tilde and base64url",
            ),
        ] {
            assert_eq!(
                Window::parse(query).unwrap_err().to_string(),
                reason,
                "{query}"
            );
        }
    }

    #[test]
    fn a_page_lists_the_oldest_first_whichever_was_pushed_first() {
        let one = event(&["a"], Some("order"), Some("x\"7"), None, "ä\n").unwrap();
        let other = event(&["a"], None, None, None, "").unwrap();
        let mut rows = Rows::default();
        assert!(rows.push(&other, cursor(9).into(), 10_000));
        assert!(rows.push(&one, cursor(7).into(), 10_000));
        let page = rows.page(true, &Gap::exact(3), Some(cursor(7).into()));
        let page: Value = serde_json::from_slice(&page).unwrap();
        assert_eq!(page["gap"], json!({ "lost": 3, "at_most": 3 }));
        assert_eq!(page["next"], cursor(7).to_string());
        let first = &page["events"][0];
        assert_eq!(
            (&first["event"], &first["id"]),
            (&json!("order"), &json!("x\"7"))
        );
        assert_eq!(
            (&first["data"], &page["events"][1]["event"]),
            (&json!("ä\n"), &Value::Null)
        );
        assert_eq!(first["cursor"], cursor(7).to_string());
        let micros = one.published_ns() / 1000;
        assert_eq!(first["time"], json!(micros as f64 / 1e6));
        let empty = Rows::default().page(false, &Gap::NONE, None);
        assert_eq!(empty, br#"{"events":[],"gap":null,"next":null}"#);
    }

    #[test]
    fn a_page_in_parts_has_the_data_behind_the_events() {
        let mut rows = Rows::new(Form::Parts);
        let (old, new) = (
            event(&["a"], Some("e"), None, None, "old\n").unwrap(),
            event(&["a"], None, Some("i\""), None, "").unwrap(),
        );
        assert!(rows.push(&new, cursor(9).into(), 10_000));
        assert!(rows.push(&old, cursor(7).into(), 10_000));
        let page = rows.page(true, &Gap::NONE, None);
        let at = page.iter().position(|byte| *byte == b'\n').unwrap();
        let length: usize = std::str::from_utf8(&page[..at]).unwrap().parse().unwrap();
        let (json, data) = page[at + 1..].split_at(length);
        let json: Value = serde_json::from_slice(json).unwrap();
        let (seven, nine) = (cursor(7).to_string(), cursor(9).to_string());
        assert_eq!(
            json["events"],
            json!([["e", null, seven, 4, 0], [null, "i\"", nine, 0, 0]])
        );
        assert_eq!((data, &json["next"]), (&b"old\n"[..], &Value::Null));
    }

    #[test]
    fn a_page_is_within_its_bytes_but_for_its_first_event() {
        let large = event(&["a"], None, None, None, &"x".repeat(500)).unwrap();
        let mut rows = Rows::default();
        assert!(rows.push(&large, cursor(1).into(), 10), "one always fits");
        assert!(!rows.push(&large, cursor(2).into(), 1000));
        assert!(rows.push(&large, cursor(2).into(), 1500));
        let page = rows.page(
            false,
            &Gap::UNKNOWN,
            Some(cursor(shared::cursor::Cursor::END - 1).into()),
        );
        assert!(page.len() <= 1500, "{}", page.len());
    }

    proptest! {
        #[test]
        fn no_query_panics(query in "(limit|since|before|[a-z]{1,3})=[ -~]{0,30}(&[ -~]{0,30}){0,3}") {
            match Window::parse(&query) {
                Ok(window) => prop_assert!((1..=MOST).contains(&window.limit)),
                Err(why) => prop_assert!(!why.to_string().contains(['\r', '\n'])),
            }
        }

        #[test]
        fn every_page_is_json(
            data: String, name in prop::option::of("[A-Za-z\\\\\"]{1,20}"), backward: bool, count in 0..5u64,
        ) {
            let event = event(&["a"], name.as_deref(), None, None, &data).unwrap();
            let mut rows = Rows::default();
            (0..count).for_each(|seq| assert!(rows.push(&event, cursor(seq).into(), 1 << 20)));
            let page: Value = serde_json::from_slice(&rows.page(backward, &Gap::NONE, None)).unwrap();
            let events = page["events"].as_array().unwrap();
            prop_assert_eq!(events.len() as u64, count);
            prop_assert!(events.iter().all(|row| row["data"] == data && row["event"] == json!(name)));
        }
    }
}

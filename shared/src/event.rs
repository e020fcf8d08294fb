//! An event as it lies in the ring: a *head* of tagged fields, then the *data*.
//!
//! ```text
//! head   ┌ tag u8 │ len u8, or u16 LE │ bytes ┐ … ┌ 0 … ┐      padded with zeros to a multiple of 8
//! data   UTF-8, up to the ring's largest payload
//!
//! tag    bit 7: optional, who does not know it skips the field     bit 6: the length is a u16
//!        bits 0–5: number; fields come in the order of their tags
//!        0x01 channel (1 to 100 times)   0x02 event   0x03 id   0x04 retry (u32 LE, ms)   0x05 except
//!        0x06 gap (u64 LE), instead of channels
//!        0x41 topic (1 to 256 times, instead of channels)
//!        0x86 key                        0x87 imported: epoch[6], position (u64 LE)
//! flags  bits 0–3 origin, bit 4 private (of topics only), 5–9 required, 10–15 optional: none yet
//! ```
//!
//! A *gap record* says what of another host can no longer be had: everything after the position in 0x06, up to the one in
//! 0x87. It has nothing else. A channel's subscribers never get an event of topics, and the other way round. An event with a required tag or
//! flag that this version does not know is `DecodeError::Unsupported`: it is skipped alone, and reported as a gap.
//! Publishers use only what askrd says that it reads (see `features`), so only a downgrade of askrd leads to that.
//!
//! Every length is bounded (see `rules`). Decoding checks all of it again: a checksum proves that nothing was torn,
//! not that the writer was honest.

use bytes::Bytes;

use crate::cursor::{Cursor, Epoch};
use crate::features::Features;
use crate::fields::{self, OPTIONAL, WIDE};
use crate::rules;

const CHANNEL: u8 = 1;
const EVENT: u8 = 2;
const ID: u8 = 3;
const RETRY: u8 = 4;
const EXCEPT: u8 = 5;
const GAP: u8 = 6;
const TOPIC: u8 = WIDE | 1;
const KEY: u8 = OPTIONAL | 6;
const IMPORTED: u8 = OPTIONAL | 7;

/// Of the flags: who put the event into the ring.
const ORIGIN_FLAGS: u16 = 0x000f;
/// Of the flags: only subscribers who were granted one of the topics get it.
const PRIVATE: u16 = 0x0010;
/// Of the flags: who does not know one of these skips the event.
const REQUIRED_FLAGS: u16 = 0x03e0;

/// Bytes of an imported event's field.
const IMPORTED_LEN: usize = 14;

/// Bytes of the longest legal head: every field, and 100 channels or 32 KiB of topics.
pub const MAX_HEAD: usize = ((2 + rules::MAX_EVENT)
    + (2 + rules::MAX_ID)
    + 6
    + (2 + rules::MAX_EXCEPT)
    + (2 + rules::MAX_KEY)
    + (2 + IMPORTED_LEN)
    + max(
        rules::MAX_CHANNELS * (2 + rules::MAX_CHANNEL),
        rules::MAX_TOPICS * 3 + rules::MAX_TOPICS_LEN,
    ))
.next_multiple_of(8);

/// Bytes of a head that a record can have: a newer publisher may write fields that this version skips.
pub const LONGEST_HEAD: usize = u16::MAX as usize & !7;

const _: () = assert!(MAX_HEAD <= LONGEST_HEAD);

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Who put the event into the ring. Consumers use it to break loops between hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum Origin {
    #[default]
    Php = 0,
    CommandLine = 1,
    Api = 2,
    Remote = 3,
}

impl Origin {
    fn from_flags(flags: u16) -> Option<Self> {
        match flags & ORIGIN_FLAGS {
            0 => Some(Self::Php),
            1 => Some(Self::CommandLine),
            2 => Some(Self::Api),
            3 => Some(Self::Remote),
            _ => None,
        }
    }
}

/// An event to publish. The names must have passed `rules`; `encode_head` relies on their lengths.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventRef<'a> {
    pub channels: &'a [&'a [u8]],
    /// Instead of channels.
    pub topics: &'a [&'a [u8]],
    /// Only for topics: nobody gets the event without a grant.
    pub private: bool,
    pub event: Option<&'a [u8]>,
    pub id: Option<&'a [u8]>,
    /// Milliseconds a browser waits before it reconnects.
    pub retry: Option<u32>,
    /// Socket id that must not receive the event.
    pub except: Option<&'a [u8]>,
    /// Of the events with one key the first counts.
    pub key: Option<&'a [u8]>,
    /// The place it has in the ring of the host that it was published on.
    pub imported: Option<Cursor>,
    /// No event: what is after this position of another host, up to `imported`, can no longer be had.
    pub gap: Option<u64>,
    pub origin: Origin,
    pub data: &'a [u8],
}

impl EventRef<'_> {
    /// As the default, for constants.
    pub const EMPTY: Self = Self {
        channels: &[],
        topics: &[],
        private: false,
        event: None,
        id: None,
        retry: None,
        except: None,
        key: None,
        imported: None,
        gap: None,
        origin: Origin::Php,
        data: &[],
    };

    /// The first rule an event breaks, with the field's name; what the daemon's decoder would refuse.
    pub fn check(&self) -> Result<(), (&'static str, rules::Violation)> {
        for channel in self.channels {
            rules::channel(channel).map_err(|v| ("channel", v))?;
        }
        for topic in self.topics {
            rules::topic(topic).map_err(|v| ("topic", v))?;
        }
        rules::topics(self.topics).map_err(|v| ("topics", v))?;
        type Rule = fn(&[u8]) -> Result<(), rules::Violation>;
        let checks: [(_, _, Rule); 4] = [
            ("event", self.event, rules::event),
            ("id", self.id, rules::id),
            ("except", self.except, rules::except),
            ("key", self.key, rules::key),
        ];
        for (name, field, rule) in checks {
            field.map_or(Ok(()), rule).map_err(|v| (name, v))?;
        }
        match std::str::from_utf8(self.data) {
            Ok(_) => Ok(()),
            Err(_) => Err(("payload", rules::Violation::NotUtf8)),
        }
    }

    pub fn flags(&self) -> u16 {
        self.origin as u16 | if self.private { PRIVATE } else { 0 }
    }

    /// What askrd must read, beyond what each askrd does.
    #[inline]
    pub fn needs(&self) -> Features {
        let mut needs = Features::NONE;
        if self.key.is_some() {
            needs = needs | Features::KEY;
        }
        if !self.topics.is_empty() {
            needs = needs | Features::TOPIC;
        }
        if self.imported.is_some() {
            needs = needs | Features::IMPORTED;
        }
        if self.gap.is_some() {
            needs = needs | Features::GAP;
        }
        needs
    }

    /// Writes the head into `out`, which is cleared first. No allocation once `out` has grown.
    ///
    /// # Panics
    /// If a name is longer than `rules` allow.
    #[inline]
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        let retry = self.retry.map(u32::to_le_bytes);
        let others = [
            (EVENT, self.event),
            (ID, self.id),
            (RETRY, retry.as_ref().map(<[u8; 4]>::as_slice)),
            (EXCEPT, self.except),
        ];
        let mut len: usize = self.channels.iter().map(|name| 2 + name.len()).sum();
        for (_, field) in others {
            len += field.map_or(0, |bytes| 2 + bytes.len());
        }
        // Most events have nothing more, and do not pay for it.
        let more = self.needs() != Features::NONE;
        if more {
            len += self.len_of_more();
        }
        // The zeros are the padding; made at once, so that nothing below has to make room.
        out.clear();
        out.resize(len.next_multiple_of(8), 0);
        let mut rest = out.as_mut_slice();
        for channel in self.channels {
            rest = field(rest, CHANNEL, channel);
        }
        for (tag, bytes) in others {
            if let Some(bytes) = bytes {
                rest = field(rest, tag, bytes);
            }
        }
        if more {
            self.encode_more(rest);
        }
    }

    /// The event that who reads it from a ring gets, published at `published_ns`.
    ///
    /// # Errors
    /// If it breaks a rule.
    pub fn to_event(&self, published_ns: u64) -> Result<Event, DecodeError> {
        let mut body = Vec::new();
        self.encode_head(&mut body);
        let head_len = u16::try_from(body.len()).map_err(|_| DecodeError::Head)?;
        body.extend_from_slice(self.data);
        Event::decode(body.into(), head_len, self.flags(), published_ns)
    }

    #[inline(never)]
    fn len_of_more(&self) -> usize {
        let topics: usize = self.topics.iter().map(|name| 3 + name.len()).sum();
        let key = self.key.map_or(0, |key| 2 + key.len());
        let imported = self.imported.map_or(0, |_| 2 + IMPORTED_LEN);
        topics + key + imported + self.gap.map_or(0, |_| 2 + 8)
    }

    /// What came after the first version.
    #[inline(never)]
    fn encode_more(&self, mut rest: &mut [u8]) {
        if let Some(from) = self.gap {
            rest = field(rest, GAP, &from.to_le_bytes());
        }
        for topic in self.topics {
            rest = wide_field(rest, TOPIC, topic);
        }
        if let Some(key) = self.key {
            rest = field(rest, KEY, key);
        }
        if let Some(at) = self.imported {
            field(rest, IMPORTED, &imported_field(at));
        }
    }
}

fn imported_field(at: Cursor) -> [u8; IMPORTED_LEN] {
    let mut bytes = [0; IMPORTED_LEN];
    bytes[..6].copy_from_slice(&at.epoch.0);
    bytes[6..].copy_from_slice(&at.seq.to_le_bytes());
    bytes
}

/// None unless it is a field that `imported_field` makes.
fn imported(bytes: &[u8]) -> Option<Cursor> {
    let bytes: &[u8; IMPORTED_LEN] = bytes.try_into().ok()?;
    let (epoch, seq) = bytes.split_first_chunk::<6>()?;
    let seq = u64::from_le_bytes(seq.try_into().ok()?);
    (seq < Cursor::END).then_some(Cursor {
        epoch: Epoch(*epoch),
        seq,
    })
}

fn gap(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// Writes a field at the start of `out`; returns what is behind it.
#[inline]
fn field<'o>(out: &'o mut [u8], tag: u8, bytes: &[u8]) -> &'o mut [u8] {
    let (field, rest) = out.split_at_mut(2 + bytes.len());
    field[0] = tag;
    field[1] = u8::try_from(bytes.len()).expect("names are checked against the rules first");
    field[2..].copy_from_slice(bytes);
    rest
}

/// The same with a 16-bit length.
fn wide_field<'o>(out: &'o mut [u8], tag: u8, bytes: &[u8]) -> &'o mut [u8] {
    let (field, rest) = out.split_at_mut(3 + bytes.len());
    let len = u16::try_from(bytes.len()).expect("names are checked against the rules first");
    field[0] = tag;
    field[1..3].copy_from_slice(&len.to_le_bytes());
    field[3..].copy_from_slice(bytes);
    rest
}

/// Why a record is not an event. Only a hostile or broken publisher makes these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the head does not have the form of tagged fields")]
    Head,
    #[error("a name breaks the rules for names")]
    Name,
    #[error("the data is not UTF-8, or a gap record has some")]
    Data,
    #[error("flags that do not go together")]
    Flags,
    /// A newer publisher's: nothing is wrong with it.
    #[error("it needs a newer askrd")]
    Unsupported,
}

/// A decoded event: owned, validated, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    body: Bytes,
    head_len: u16,
    flags: u16,
    published_ns: u64,
}

impl Event {
    /// Takes a record's bytes and checks everything. `body` is head and data, as it lay in the ring.
    pub fn decode(
        body: Bytes,
        head_len: u16,
        flags: u16,
        published_ns: u64,
    ) -> Result<Self, DecodeError> {
        let head = body.get(..head_len as usize).ok_or(DecodeError::Head)?;
        let kind = check_head(head)?;
        if Origin::from_flags(flags).is_none() || flags & REQUIRED_FLAGS != 0 {
            return Err(DecodeError::Unsupported);
        }
        if flags & PRIVATE != 0 && kind != Kind::Topics {
            return Err(DecodeError::Flags);
        }
        std::str::from_utf8(&body[head_len as usize..]).map_err(|_| DecodeError::Data)?;
        if kind == Kind::Gap && body.len() > usize::from(head_len) {
            return Err(DecodeError::Data);
        }
        Ok(Self {
            body,
            head_len,
            flags,
            published_ns,
        })
    }

    /// None for an event of topics or a gap record, else at least one, at most `rules::MAX_CHANNELS`, each once.
    pub fn channels(&self) -> impl Iterator<Item = &str> + Clone {
        self.fields()
            .take_while(|(tag, _)| *tag == CHANNEL)
            .map(|(_, name)| text(name))
    }

    pub fn event(&self) -> Option<&str> {
        self.field(EVENT).map(text)
    }

    pub fn id(&self) -> Option<&str> {
        self.field(ID).map(text)
    }

    /// Milliseconds.
    pub fn retry(&self) -> Option<u32> {
        self.field(RETRY)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_le_bytes)
    }

    pub fn except(&self) -> Option<&str> {
        self.field(EXCEPT).map(text)
    }

    /// None for an event of channels or a gap record, else at least one, at most `rules::MAX_TOPICS`, each once.
    pub fn topics(&self) -> impl Iterator<Item = &str> + Clone {
        self.fields()
            .filter(|(tag, _)| *tag == TOPIC)
            .map(|(_, name)| text(name))
    }

    /// Whether it is published to topics.
    pub fn is_of_topics(&self) -> bool {
        self.channels().next().is_none() && self.gap().is_none()
    }

    /// Whether only who was granted one of its topics gets it.
    pub fn is_private(&self) -> bool {
        self.flags & PRIVATE != 0
    }

    /// Of the events with one key the first counts.
    pub fn key(&self) -> Option<&str> {
        self.field(KEY).map(text)
    }

    /// The place it has in the ring of the host that it was published on; None: it is from here.
    pub fn imported(&self) -> Option<Cursor> {
        self.field(IMPORTED).and_then(imported)
    }

    /// It is a gap record: what is after this position of the host that it is of, up to `imported`, can no longer be
    /// had.
    pub fn gap(&self) -> Option<u64> {
        self.field(GAP).and_then(gap)
    }

    pub fn origin(&self) -> Origin {
        Origin::from_flags(self.flags).unwrap_or_default()
    }

    /// Unix time of the publish, nanoseconds; a publisher's word, so only for statistics.
    pub fn published_ns(&self) -> u64 {
        self.published_ns
    }

    /// Head and data, as they lay in the ring; `decode` takes them, with `head_len`, `flags` and `published_ns`.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub fn head_len(&self) -> u16 {
        self.head_len
    }

    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// Bytes it holds: head and payload.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// The payload's bytes; UTF-8.
    pub fn data(&self) -> &[u8] {
        &self.body[self.head_len as usize..]
    }

    pub fn data_str(&self) -> &str {
        text(self.data())
    }

    fn fields(&self) -> Fields<'_> {
        Fields(&self.body[..self.head_len as usize])
    }

    fn field(&self, wanted: u8) -> Option<&[u8]> {
        self.fields()
            .find(|(tag, _)| *tag == wanted)
            .map(|(_, bytes)| bytes)
    }
}

/// Everything an `Event` hands out passed `from_utf8` in `decode`.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Walks tagged fields; stops at padding, at the end, or at a field that runs over it.
#[derive(Clone)]
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, bytes, rest) = fields::split(self.0).filter(|(tag, ..)| *tag != 0)?;
        self.0 = rest;
        Some((tag, bytes))
    }
}

/// What an event is published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Channels,
    Topics,
    Gap,
}

fn check_head(head: &[u8]) -> Result<Kind, DecodeError> {
    let mut fields = Fields(head);
    let mut channels = Vec::new();
    let mut topics = Vec::new();
    let mut unsupported = false;
    let (mut missing, mut last_of_gap, mut others) = (None, None, false);
    let mut last = 0;
    for (tag, bytes) in fields.by_ref() {
        // Fields come in the order of their tags, and of those that are known only names repeat.
        let repeats = matches!(tag, CHANNEL | TOPIC) || !known(tag);
        if tag < last || (tag == last && !repeats) {
            return Err(DecodeError::Head);
        }
        last = tag;
        others |= known(tag) && !matches!(tag, GAP | IMPORTED);
        let checked = match tag {
            CHANNEL => {
                channels.push(bytes);
                rules::channel(bytes)
            }
            TOPIC => {
                topics.push(bytes);
                rules::topic(bytes)
            }
            EVENT => rules::event(bytes),
            ID => rules::held_id(bytes),
            RETRY if bytes.len() == 4 => Ok(()),
            EXCEPT => rules::except(bytes),
            KEY => rules::key(bytes),
            GAP if bytes.len() == 8 => {
                missing = gap(bytes);
                Ok(())
            }
            IMPORTED if imported(bytes).is_some() => {
                last_of_gap = imported(bytes);
                Ok(())
            }
            RETRY | GAP | IMPORTED => return Err(DecodeError::Head),
            _ => {
                unsupported |= tag & OPTIONAL == 0;
                Ok(())
            }
        };
        checked.map_err(|_| DecodeError::Name)?;
    }
    let padding = fields.0;
    if padding.len() >= 8 || padding.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::Head);
    }
    if unsupported {
        return Err(DecodeError::Unsupported);
    }
    let names_fit = channels.len() <= rules::MAX_CHANNELS
        && topics.len() <= rules::MAX_TOPICS
        && topics.iter().map(|name| name.len()).sum::<usize>() <= rules::MAX_TOPICS_LEN;
    // A name given twice would deliver twice.
    if !names_fit || repeats(&mut channels) || repeats(&mut topics) {
        return Err(DecodeError::Head);
    }
    if let Some(from) = missing {
        let is_some = last_of_gap.is_some_and(|to| from < to.seq);
        return match is_some && !others {
            true => Ok(Kind::Gap),
            false => Err(DecodeError::Head),
        };
    }
    match (channels.is_empty(), topics.is_empty()) {
        (false, true) => Ok(Kind::Channels),
        (true, false) => Ok(Kind::Topics),
        _ => Err(DecodeError::Head),
    }
}

fn known(tag: u8) -> bool {
    matches!(
        tag,
        CHANNEL | EVENT | ID | RETRY | EXCEPT | GAP | TOPIC | KEY | IMPORTED
    )
}

fn repeats(names: &mut [&[u8]]) -> bool {
    names.len() > 1 && {
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(event: &EventRef<'_>) -> Result<Event, DecodeError> {
        event.to_event(7)
    }

    fn plain<'a>(channels: &'a [&'a [u8]]) -> EventRef<'a> {
        EventRef {
            channels,
            ..EventRef::default()
        }
    }

    proptest! {
        #[test]
        fn what_passes_the_rules_round_trips(
            channels in prop::collection::btree_set("[a-zé.-]{1,40}", 1..100),
            event in prop::option::of("[A-Za-z\\\\]{1,200}"),
            id in prop::option::of("[a-z0-9-]{1,12}"),
            retry: Option<u32>,
            except in prop::option::of("[0-9]{1,9}\\.[0-9]{1,9}"),
            key in prop::option::of("[a-z0-9é-]{1,60}"),
            imported in prop::option::of((any::<[u8; 6]>(), 0..Cursor::END)),
            data: String,
        ) {
            let names: Vec<&[u8]> = channels.iter().map(|c| c.as_bytes()).collect();
            let source = EventRef {
                event: event.as_deref().map(str::as_bytes),
                id: id.as_deref().map(str::as_bytes),
                retry,
                except: except.as_deref().map(str::as_bytes),
                key: key.as_deref().map(str::as_bytes),
                imported: imported.map(|(epoch, seq)| Cursor { epoch: Epoch(epoch), seq }),
                origin: Origin::Api,
                data: data.as_bytes(),
                ..plain(&names)
            };
            prop_assert_eq!(source.check(), Ok(()));
            let read = encode(&source).unwrap();
            prop_assert!(read.channels().eq(channels.iter().map(String::as_str)));
            prop_assert_eq!(read.event(), event.as_deref());
            prop_assert_eq!(read.id(), id.as_deref());
            prop_assert_eq!(read.retry(), retry);
            prop_assert_eq!(read.except(), except.as_deref());
            prop_assert_eq!(read.key(), key.as_deref());
            prop_assert_eq!(read.imported(), source.imported);
            prop_assert_eq!(read.data_str(), data);
            prop_assert_eq!((read.origin(), read.published_ns()), (Origin::Api, 7));
        }

        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>, head_len: u16, flags: u16) {
            if let Ok(event) = Event::decode(body.into(), head_len, flags, 0) {
                let names = event.channels().count() + event.topics().count();
                prop_assert!(names >= 1 || event.gap().is_some());
                prop_assert!(event.channels().all(|c| rules::channel(c.as_bytes()).is_ok()));
            }
        }
    }

    #[test]
    fn forged_heads_are_refused() {
        let decode =
            |head: &[u8], flags| Event::decode(head.to_vec().into(), head.len() as u16, flags, 0);
        assert_eq!(decode(b"", 0), Err(DecodeError::Head), "no channel");
        assert_eq!(decode(b"\x01\x01a\0\0\0\0\0", 16), Err(DecodeError::Flags));
        assert_eq!(
            decode(b"\x01\x01a\0\0\0\0\0", 4),
            Err(DecodeError::Unsupported)
        );
        assert_eq!(
            decode(b"\x01\x05a\0\0\0\0\0\0", 0),
            Err(DecodeError::Name),
            "NUL in a name"
        );
        assert_eq!(
            decode(b"\x01\xffa\0\0\0\0\0", 0),
            Err(DecodeError::Head),
            "runs over the end"
        );
        assert_eq!(
            decode(b"\x01\x01a\x01\x01a\0\0", 0),
            Err(DecodeError::Head),
            "twice"
        );
        assert_eq!(
            decode(b"\x02\x01e\x01\x01a\0\0", 0),
            Err(DecodeError::Head),
            "event first"
        );
        assert_eq!(
            decode(b"\x01\x01a\x09\x01a\0\0", 0),
            Err(DecodeError::Unsupported),
            "unknown tag"
        );
        assert_eq!(
            decode(b"\x01\x06askr:x", 0),
            Err(DecodeError::Name),
            "reserved"
        );
        assert!(decode(b"\x01\x01a\0\0\0\0\0", 0).is_ok());
    }

    #[test]
    fn a_gap_record_has_its_two_ends_and_nothing_else() {
        let to = |seq| Cursor {
            epoch: Epoch([7; 6]),
            seq,
        };
        let record = EventRef {
            gap: Some(40),
            imported: Some(to(52)),
            ..EventRef::EMPTY
        };
        let read = encode(&record).unwrap();
        assert_eq!((read.gap(), read.imported()), (Some(40), Some(to(52))));
        assert_eq!(read.channels().count() + read.topics().count(), 0);
        assert_eq!(encode(&plain(&[b"a"])).unwrap().gap(), None);
        let refused = |event: EventRef<'_>| encode(&event).unwrap_err();
        let channels: &[&[u8]] = &[b"a"];
        for (wrong, why) in [
            (EventRef { channels, ..record }, DecodeError::Head),
            (
                EventRef {
                    topics: channels,
                    ..record
                },
                DecodeError::Head,
            ),
            (
                EventRef {
                    key: Some(b"k"),
                    ..record
                },
                DecodeError::Head,
            ),
            (
                EventRef {
                    imported: None,
                    ..record
                },
                DecodeError::Head,
            ),
            (
                EventRef {
                    gap: Some(52),
                    ..record
                },
                DecodeError::Head,
            ),
            (
                EventRef {
                    data: b"x",
                    ..record
                },
                DecodeError::Data,
            ),
        ] {
            assert_eq!(refused(wrong), why, "{wrong:?}");
        }
    }

    #[test]
    fn the_longest_head_fits_its_bound() {
        let long = [b'x'; 200];
        let full = EventRef {
            event: Some(&long),
            id: Some(&long),
            retry: Some(u32::MAX),
            except: Some(&long[..100]),
            key: Some(&long),
            imported: Some(Cursor {
                epoch: Epoch([0xff; 6]),
                seq: Cursor::END - 1,
            }),
            ..EventRef::default()
        };
        let names: Vec<String> = (0..100).map(|n| format!("{n:0>200}")).collect();
        let channels: Vec<&[u8]> = names.iter().map(|n| n.as_bytes()).collect();
        let names: Vec<String> = (0..256).map(|n| format!("{n:0>128}")).collect();
        let topics: Vec<&[u8]> = names.iter().map(|n| n.as_bytes()).collect();
        let mut head = Vec::new();
        let mut longest = 0;
        for event in [
            EventRef {
                channels: &channels,
                ..full
            },
            EventRef {
                topics: &topics,
                ..full
            },
        ] {
            assert_eq!(event.check(), Ok(()));
            event.encode_head(&mut head);
            longest = longest.max(head.len());
            assert!(encode(&event).is_ok());
        }
        assert_eq!(longest, MAX_HEAD);
    }
}

//! An event as it lies in the ring: a *head* of tagged fields, then the *data*.
//!
//! ```text
//! head   ┌ tag u8 │ len u8 │ bytes ┐ … ┌ 0 … ┐      padded with zeros to a multiple of 8
//!        1 channel (1 to 100 times, first) 2 event 3 id 4 retry (u32 LE, ms) 5 except
//! data   UTF-8, up to the ring's largest payload
//! flags  bits 0–3 origin, the rest zero
//! ```
//!
//! Every length fits one byte because every name is bounded (see `rules`). Decoding checks all of it
//! again: a checksum proves that nothing was torn, not that the writer was honest.

use bytes::Bytes;

use crate::rules;

const CHANNEL: u8 = 1;
const EVENT: u8 = 2;
const ID: u8 = 3;
const RETRY: u8 = 4;
const EXCEPT: u8 = 5;

/// Bytes of the longest legal head: 100 channels and every field, padded.
pub const MAX_HEAD: usize = (rules::MAX_CHANNELS * (2 + rules::MAX_CHANNEL)
    + (2 + rules::MAX_EVENT)
    + (2 + rules::MAX_ID)
    + 6
    + (2 + rules::MAX_EXCEPT))
    .next_multiple_of(8);

const _: () = assert!(MAX_HEAD <= u16::MAX as usize);

/// Who put the event into the ring. Consumers use it to break loops between hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Origin {
    Php = 0,
    CommandLine = 1,
    Api = 2,
    Remote = 3,
}

impl Origin {
    fn from_flags(flags: u16) -> Option<Self> {
        match flags {
            0 => Some(Self::Php),
            1 => Some(Self::CommandLine),
            2 => Some(Self::Api),
            3 => Some(Self::Remote),
            _ => None,
        }
    }
}

/// An event to publish. The names must have passed `rules`; `encode_head` relies on their lengths.
#[derive(Clone, Copy, Debug)]
pub struct EventRef<'a> {
    pub channels: &'a [&'a [u8]],
    pub event: Option<&'a [u8]>,
    pub id: Option<&'a [u8]>,
    /// Milliseconds a browser waits before it reconnects.
    pub retry: Option<u32>,
    /// Socket id that must not receive the event.
    pub except: Option<&'a [u8]>,
    pub origin: Origin,
    pub data: &'a [u8],
}

impl EventRef<'_> {
    /// The first rule an event breaks, with the field's name; what the daemon's decoder would refuse.
    pub fn check(&self) -> Result<(), (&'static str, rules::Violation)> {
        for channel in self.channels {
            rules::channel(channel).map_err(|v| ("channel", v))?;
        }
        self.event
            .map_or(Ok(()), rules::event)
            .map_err(|v| ("event", v))?;
        self.id.map_or(Ok(()), rules::id).map_err(|v| ("id", v))?;
        self.except
            .map_or(Ok(()), rules::except)
            .map_err(|v| ("except", v))?;
        match std::str::from_utf8(self.data) {
            Ok(_) => Ok(()),
            Err(_) => Err(("payload", rules::Violation::NotUtf8)),
        }
    }

    pub fn flags(&self) -> u16 {
        self.origin as u16
    }

    /// Writes the head into `out`, which is cleared first. No allocation once `out` has grown.
    ///
    /// # Panics
    /// If a name is longer than `rules` allow.
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
    }
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

/// Why a record is not an event. Only a hostile or broken publisher makes these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the head does not have the form of tagged fields")]
    Head,
    #[error("a name breaks the rules for names")]
    Name,
    #[error("the data is not UTF-8")]
    Data,
    #[error("unknown flags")]
    Flags,
}

/// A decoded event: owned, validated, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    body: Bytes,
    head_len: u16,
    origin: Origin,
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
        let origin = Origin::from_flags(flags).ok_or(DecodeError::Flags)?;
        let head = body.get(..head_len as usize).ok_or(DecodeError::Head)?;
        check_head(head)?;
        std::str::from_utf8(&body[head_len as usize..]).map_err(|_| DecodeError::Data)?;
        Ok(Self {
            body,
            head_len,
            origin,
            published_ns,
        })
    }

    /// At least one, at most `rules::MAX_CHANNELS`, each once.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
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

    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Unix time of the publish, nanoseconds; a publisher's word, so only for statistics.
    pub fn published_ns(&self) -> u64 {
        self.published_ns
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
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&len, rest) = rest.split_first()?;
        if tag == 0 || rest.len() < len as usize {
            return None;
        }
        let (bytes, rest) = rest.split_at(len as usize);
        self.0 = rest;
        Some((tag, bytes))
    }
}

fn check_head(head: &[u8]) -> Result<(), DecodeError> {
    let mut fields = Fields(head);
    let mut channels = Vec::new();
    let mut last = CHANNEL;
    for (tag, bytes) in fields.by_ref() {
        // Fields come in the order of their tags, and only channels repeat.
        if tag < last || (tag == last && tag != CHANNEL) {
            return Err(DecodeError::Head);
        }
        last = tag;
        let checked = match tag {
            CHANNEL => {
                channels.push(bytes);
                rules::channel(bytes)
            }
            EVENT => rules::event(bytes),
            ID => rules::id(bytes),
            RETRY if bytes.len() == 4 => Ok(()),
            EXCEPT => rules::except(bytes),
            _ => return Err(DecodeError::Head),
        };
        checked.map_err(|_| DecodeError::Name)?;
    }
    let padding = fields.0;
    let padded = padding.len() < 8 && padding.iter().all(|b| *b == 0);
    if channels.is_empty() || channels.len() > rules::MAX_CHANNELS || !padded {
        return Err(DecodeError::Head);
    }
    // A channel named twice would deliver twice.
    if channels.len() > 1 {
        channels.sort_unstable();
        if channels.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DecodeError::Head);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(event: &EventRef<'_>) -> Result<Event, DecodeError> {
        let mut body = Vec::new();
        event.encode_head(&mut body);
        let head_len = body.len() as u16;
        body.extend_from_slice(event.data);
        Event::decode(body.into(), head_len, event.flags(), 7)
    }

    fn plain<'a>(channels: &'a [&'a [u8]]) -> EventRef<'a> {
        EventRef {
            channels,
            event: None,
            id: None,
            retry: None,
            except: None,
            origin: Origin::Php,
            data: b"",
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
            data: String,
        ) {
            let names: Vec<&[u8]> = channels.iter().map(|c| c.as_bytes()).collect();
            let source = EventRef {
                event: event.as_deref().map(str::as_bytes),
                id: id.as_deref().map(str::as_bytes),
                retry,
                except: except.as_deref().map(str::as_bytes),
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
            prop_assert_eq!(read.data_str(), data);
            prop_assert_eq!((read.origin(), read.published_ns()), (Origin::Api, 7));
        }

        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>, head_len: u16, flags: u16) {
            if let Ok(event) = Event::decode(body.into(), head_len, flags, 0) {
                prop_assert!(event.channels().count() >= 1);
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
            Err(DecodeError::Head),
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
    fn the_longest_head_fits_its_bound() {
        let names: Vec<String> = (0..100).map(|n| format!("{n:0>200}")).collect();
        let names: Vec<&[u8]> = names.iter().map(|n| n.as_bytes()).collect();
        let long = [b'x'; 200];
        let event = EventRef {
            event: Some(&long),
            id: Some(&long),
            retry: Some(u32::MAX),
            except: Some(&long[..100]),
            ..plain(&names)
        };
        let mut head = Vec::new();
        event.encode_head(&mut head);
        assert_eq!(head.len(), MAX_HEAD);
        assert!(encode(&event).is_ok());
    }
}

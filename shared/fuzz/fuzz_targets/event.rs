//! Any bytes as a record: decoded, or refused. What is decoded obeys the rules for names, and encodes
//! to the same bytes again, so that a record has one meaning only.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shared::event::{Event, EventRef};
use shared::rules;

fuzz_target!(|data: &[u8]| {
    let Some((intro, body)) = data.split_at_checked(4) else {
        return;
    };
    let head_len = u16::from_le_bytes([intro[0], intro[1]]);
    let flags = u16::from_le_bytes([intro[2], intro[3]]);
    let Ok(event) = Event::decode(Bytes::copy_from_slice(body), head_len, flags, 1) else {
        return;
    };
    let channels: Vec<&[u8]> = event.channels().map(str::as_bytes).collect();
    let topics: Vec<&[u8]> = event.topics().map(str::as_bytes).collect();
    let kinds = [!channels.is_empty(), !topics.is_empty(), event.gap().is_some()];
    assert_eq!(kinds.iter().filter(|is| **is).count(), 1);
    assert!(channels.len() <= rules::MAX_CHANNELS && topics.len() <= rules::MAX_TOPICS);
    let again = EventRef {
        channels: &channels,
        topics: &topics,
        private: event.is_private(),
        event: event.event().map(str::as_bytes),
        // Older publishers may have used an id that looks like a cursor across hosts.
        id: event.id().map(str::as_bytes).filter(|id| rules::id(id).is_ok()),
        retry: event.retry(),
        except: event.except().map(str::as_bytes),
        key: event.key().map(str::as_bytes),
        imported: event.imported(),
        gap: event.gap(),
        origin: event.origin(),
        data: event.data(),
    };
    assert_eq!(again.check(), Ok(()));
    // What this version does not know is optional, and not written again.
    assert_eq!(again.flags(), flags & 0x1f);
    let mut bytes = Vec::new();
    again.encode_head(&mut bytes);
    let head_len = bytes.len() as u16;
    bytes.extend_from_slice(again.data);
    let second = Event::decode(bytes.into(), head_len, again.flags(), 1).expect("encoded here");
    assert!(second.channels().eq(event.channels()) && second.topics().eq(event.topics()));
    assert_eq!(second.event(), event.event());
    assert_eq!(second.id().map(str::as_bytes), again.id);
    assert_eq!(second.retry(), event.retry());
    assert_eq!(second.except(), event.except());
    assert_eq!(second.key(), event.key());
    assert_eq!(second.imported(), event.imported());
    assert_eq!(second.gap(), event.gap());
    assert_eq!(second.is_private(), event.is_private());
    assert_eq!(second.data(), event.data());
});

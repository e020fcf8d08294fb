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
    assert!((1..=rules::MAX_CHANNELS).contains(&channels.len()));
    let again = EventRef {
        channels: &channels,
        event: event.event().map(str::as_bytes),
        id: event.id().map(str::as_bytes),
        retry: event.retry(),
        except: event.except().map(str::as_bytes),
        origin: event.origin(),
        data: event.data(),
    };
    assert_eq!(again.check(), Ok(()));
    assert_eq!(again.flags(), flags);
    let mut head = Vec::new();
    again.encode_head(&mut head);
    // But for the padding, of which a reader accepts less than a publisher writes.
    let (short, long) = if head.len() < head_len as usize {
        (head.as_slice(), &body[..head_len as usize])
    } else {
        (&body[..head_len as usize], head.as_slice())
    };
    assert!(long.starts_with(short) && long[short.len()..].iter().all(|byte| *byte == 0));
    assert_eq!(event.data(), &body[head_len as usize..]);
});

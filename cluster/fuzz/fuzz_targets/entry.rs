//! Any bytes as an entry of the log: refused, or an entry whose positions go together, which is encoded to one that says
//! the same.
#![no_main]

use bytes::Bytes;
use cluster::entry::{Body, Entry};
use libfuzzer_sys::fuzz_target;
use shared::cursor::Cursor;

fuzz_target!(|data: &[u8]| {
    let Ok(entry) = Entry::decode(&Bytes::copy_from_slice(data)) else {
        return;
    };
    assert!(entry.start <= entry.previous && entry.previous < entry.position);
    assert!(entry.position < Cursor::END);
    if let Body::Event(event) = &entry.body {
        assert!(event.imported().is_none());
        assert!(event.channels().count() + event.topics().count() >= 1);
    }
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    assert_eq!(bytes.len(), entry.size());
    let again = Entry::decode(&Bytes::from(bytes)).expect("encoded here");
    let body = match entry.body {
        Body::Unreadable(_) => Body::Lost,
        body => body,
    };
    assert_eq!(again, Entry { body, ..entry });
});

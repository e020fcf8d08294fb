//! A publisher in any segment image: it publishes, or says why not; it panics nowhere, touches nothing
//! outside, and comes to an end. PHP runs this code on memory that others may write.
#![no_main]

mod image;

use image::{GEOMETRY, Image, Input};
use libfuzzer_sys::fuzz_target;
use shared::event::{EventRef, Origin};
use shared::fetch::{self, Fetch};
use shared::writer::{self, Body};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let image = Image::new(&mut input);
    let [owner, len] = input.bytes();
    let (owner, len) = (1 + u16::from(owner) % 15, usize::from(len % 80));
    let payload = [b'x'; 80];
    let event = EventRef {
        channels: &[b"a"],
        origin: Origin::Api,
        data: &payload[..len],
        ..EventRef::default()
    };
    let mut head = Vec::new();
    event.encode_head(&mut head);
    let body = Body {
        head: &head,
        data: event.data,
        flags: event.flags(),
        published: 1_700_000_000,
    };
    let said = writer::publish(image.ring(), owner, body);
    let fits = head.len() + event.data.len() <= GEOMETRY.hard_max_body() as usize;
    // Nobody else writes here, so what was acknowledged is there, however odd the words around it.
    if let Ok(position) = said {
        assert!(fits);
        match fetch::fetch(image.ring(), position) {
            Fetch::Event(read) => assert_eq!(read.data(), event.data),
            other => panic!("{position}: {other:?}"),
        }
    }
});

//! Any segment image: every position is fetched, and a tail reads from several places. It ends, panics
//! nowhere, touches nothing outside, and hands out only events that pass the decoder.
#![no_main]

mod image;

use image::{GEOMETRY, Image, Input};
use libfuzzer_sys::fuzz_target;
use shared::event::Event;
use shared::fetch::{self, Fetch};
use shared::tail::{Step, Tail};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let image = Image::new(&mut input);
    let ring = image.ring();
    for position in 0..8 * GEOMETRY.slots() {
        if let Fetch::Event(event) = fetch::fetch(ring, position) {
            sound(&event);
        }
        fetch::published(ring, position);
    }
    let first = GEOMETRY.slots() * (1 + u64::from(image.modes >> 4) % 4);
    let mut tail = Tail::new(first, image.modes & 4 != 0);
    if image.modes & 8 != 0 {
        tail.end_at(first + u64::from(image.modes));
    }
    read(ring, &mut tail);
    // As the reader does when claims stay open for too long.
    shared::tail::poison(ring, tail.next(), tail.next() + GEOMETRY.slots());
    read(ring, &mut tail);
    shared::reaper::free(ring, u16::from(image.modes) & 15);
});

/// The words stand still, so a reader must come to a standstill too.
fn read(ring: shared::ring::Ring<'_>, tail: &mut Tail) {
    for _ in 0..1000 {
        let before = tail.next();
        match tail.step(ring) {
            Step::Event { event, .. } => sound(&event),
            Step::Lapped { from, to } => assert!(from < to && tail.next() == to),
            Step::Unreadable { .. } | Step::Skipped { .. } => {}
            Step::Empty | Step::End | Step::Distrust(_) => return,
        }
        assert!(tail.next() > before);
    }
    panic!("a reader that never comes to an end");
}

fn sound(event: &Event) {
    assert!(event.channels().count() + event.topics().count() >= 1);
    for topic in event.topics() {
        assert!(shared::rules::topic(topic.as_bytes()).is_ok());
    }
    for channel in event.channels() {
        assert!(shared::rules::channel(channel.as_bytes()).is_ok());
    }
    assert_eq!(event.data_str().len(), event.data().len());
}

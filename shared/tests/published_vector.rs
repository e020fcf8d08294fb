//! askrd's place with other hosts, in the segment: what PHP makes of it, and of nonsense there.

mod common;

use common::*;
use proptest::prelude::*;
use shared::cursor::Cursor;
use shared::layout::*;
use shared::prim::Ordering::*;
use shared::published_vector::{clear, publish, read};
use shared::publisher::Place;
use shared::vector::{OriginId, Vector};

fn vector(parts: &[(OriginId, u64)]) -> Vector {
    parts.iter().copied().collect()
}

const OTHER: OriginId = OriginId([9, 8, 7, 6, 5]);

#[test]
fn a_page_has_what_askrd_has_of_others_and_what_is_published_here() {
    let home = Home::small();
    let keeper = home.keeper();
    let segment = keeper.current();
    let mut publisher = home.publisher();
    let own = OriginId::from(segment.epoch());
    let first = publisher.publish(&event(b"x")).unwrap().seq;
    assert_eq!(
        publisher.place().unwrap(),
        Place::Cursor(publisher.cursor().unwrap())
    );
    // What lies behind `first` is imported.
    publisher.publish(&event(b"y")).unwrap();
    publish(
        segment.ring(),
        own,
        &vector(&[(own, first), (OTHER, 77)]),
        first + 2,
    );
    let all = Place::Vector(vector(&[(own, first), (OTHER, 77)]));
    assert_eq!(publisher.place().unwrap(), all);
    // askrd has not read what comes then.
    let seq = publisher.publish(&event(b"z")).unwrap().seq;
    let ahead = Place::Vector(vector(&[(own, seq), (OTHER, 77)]));
    assert_eq!(publisher.place().unwrap(), ahead);
    clear(segment.ring());
    assert!(matches!(publisher.place().unwrap(), Place::Cursor(_)));
}

#[test]
fn a_writer_killed_in_the_middle_leaves_the_cursor_of_one_host_until_the_next() {
    let home = Home::small();
    let keeper = home.keeper();
    let ring = keeper.current().ring();
    let own = OriginId::from(keeper.current().epoch());
    let all = vector(&[(own, 1), (OTHER, 77)]);
    publish(ring, own, &all, 2);
    ring.word(W_VECTOR_SEQUENCE).fetch_add(1, Relaxed);
    assert!(matches!(
        home.publisher().place().unwrap(),
        Place::Cursor(_)
    ));
    publish(ring, own, &all, 2);
    assert!(matches!(
        home.publisher().place().unwrap(),
        Place::Vector(_)
    ));
}

#[test]
fn nobody_reads_a_mixture() {
    let home = Home::small();
    let keeper = home.keeper();
    let segment = keeper.current();
    let own = OriginId::from(segment.epoch());
    let origins: Vec<OriginId> = (1..=40).map(|n| OriginId([n; 5])).collect();
    let write = |n: u64| {
        let parts = origins.iter().map(|origin| (*origin, n));
        let vector: Vector = parts.chain([(own, n)]).collect();
        publish(segment.ring(), own, &vector, n + 1);
    };
    write(1);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..20_000).for_each(write);
            done.store(true, Relaxed);
        });
        let cursor = Cursor {
            epoch: segment.epoch(),
            seq: 5,
        };
        while !done.load(Relaxed) {
            if let Some(vector) = read(segment.ring(), cursor) {
                let first = vector.get(origins[0]);
                assert!(origins.iter().all(|origin| vector.get(*origin) == first));
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The words as a hostile publisher may leave them: small numbers get past the first checks.
    #[test]
    fn whatever_lies_there_is_a_vector_or_nothing(
        words in prop::collection::vec(prop_oneof![0..70u64, any::<u64>()], 200),
        sequence in prop_oneof![0..5u64, any::<u64>()],
    ) {
        let home = Home::small();
        let keeper = home.keeper();
        let segment = keeper.current();
        for (n, value) in words.iter().enumerate() {
            segment.ring().word(W_VECTOR + n).store(*value, Relaxed);
        }
        segment.ring().word(W_VECTOR_SEQUENCE).store(sequence, Relaxed);
        let cursor = Cursor { epoch: segment.epoch(), seq: 68 };
        if let Some(vector) = read(segment.ring(), cursor) {
            prop_assert_eq!(Vector::parse(vector.to_string().as_bytes()), Some(vector.clone()));
            prop_assert!(vector.get(cursor.epoch.into()).is_some_and(|own| own <= 68));
        }
    }
}

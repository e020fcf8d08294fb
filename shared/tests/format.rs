//! Publishers and readers of different versions on one ring, and what the format keeps room for.

mod common;
mod first_version;

use bytes::Bytes;
use common::*;
use shared::cursor::{Cursor, Epoch};
use shared::event::{DecodeError, Event, EventRef};
use shared::features::{self, Features};
use shared::fetch::Fetch;
use shared::keeper::{Keeper, Next};
use shared::layout::*;
use shared::prim::Ordering::*;
use shared::publisher::Failure;
use shared::segment::now_ns;
use shared::writer::{self, Body};

fn keyed<'a>(key: &'a [u8], data: &'a [u8]) -> EventRef<'a> {
    EventRef {
        key: Some(key),
        ..event(data)
    }
}

/// Puts a record with any head and flags into the ring, as publishers of other versions may.
fn put(keeper: &Keeper, head: &[u8], flags: u16, data: &[u8]) -> u64 {
    let mut padded = head.to_vec();
    padded.resize(head.len().next_multiple_of(8), 0);
    let body = Body {
        head: &padded,
        data,
        flags,
        published: now_ns(),
    };
    writer::publish(keeper.current().ring(), 9, body).unwrap()
}

/// The record at `seq` as an askrd of the first version finds it.
fn read_by_the_first_version(keeper: &Keeper, seq: u64) -> Result<(), &'static str> {
    let ring = keeper.current().ring();
    let slot = ring.slot(seq);
    let (len, head_len, flags) = shared::ring::unpack_len(slot[S_LEN].load(Acquire));
    assert_eq!(slot[S_ARENA].load(Acquire), 0, "inline");
    let mut body = Vec::new();
    shared::copy::load(&slot[S_BODY..], len as usize, &mut body);
    first_version::decode(&body, head_len, flags)
}

#[test]
fn an_askrd_that_says_nothing_of_features_gets_no_key() {
    let home = Home::small();
    let keeper = home.keeper();
    let ring = keeper.current().ring();
    let mut publisher = home.publisher();
    // Made by an askrd of the first version; then taken over by one, whose heartbeats leave the word behind.
    let (now, hour) = (now_ns(), 3_600_000_000_000);
    for (word, beat) in [
        (0, 0),
        (0, now),
        ((now - 1_000_000_000) | 1, now),
        // It ended well, which sets its heartbeat to 0.
        ((now - 1_000_000_000) | 1, 0),
        // The clock was set back before it began.
        ((now + hour) | 1, now),
        // It serves after a newer one that ended well.
        (!0xffff | 1, now),
    ] {
        ring.word(W_FEATURES).store(word, Release);
        ring.word(W_HEARTBEAT).store(beat, Release);
        let seq = publisher.publish(&keyed(b"k", b"data")).unwrap().seq;
        assert_eq!(read_by_the_first_version(&keeper, seq), Ok(()));
        let Fetch::Event(found) = keeper.current().read(seq) else {
            panic!("not there")
        };
        assert_eq!((found.key(), found.data_str()), (None, "data"));
        assert_eq!(publisher.status().features, Features::NONE);
    }
    assert_eq!(publisher.status().keys_ignored, 6);
    // Topics have no meaning without.
    let topics = EventRef {
        channels: &[],
        topics: &[b"https://example.com/a"],
        ..event(b"x")
    };
    let error = publisher.publish(&topics).unwrap_err();
    assert_eq!(error.failure, Failure::Unsupported);
    for named in ["(topic)", env!("CARGO_PKG_VERSION")] {
        assert!(error.message.contains(named), "{error}");
    }
}

#[test]
fn what_the_last_askrd_reads_counts_while_none_runs() {
    let home = Home::small();
    drop(home.keeper());
    let mut publisher = home.publisher();
    publisher.publish(&keyed(b"k", b"first")).unwrap();
    publisher.publish(&keyed(b"k", b"again")).unwrap();
    assert_eq!(publisher.status().keys_ignored, 0);
    assert!(publisher.status().features.contain(Features::KEY));
    assert_eq!(texts(&drain(&mut home.keeper())), ["first"]);
}

#[test]
fn an_event_without_new_fields_is_one_of_the_first_version() {
    let home = Home::small();
    let keeper = home.keeper();
    let full = EventRef {
        event: Some(b"order"),
        id: Some(b"o-1"),
        retry: Some(5),
        except: Some(b"1.2"),
        ..event(b"data")
    };
    let seq = home.publisher().publish(&full).unwrap().seq;
    assert_eq!(read_by_the_first_version(&keeper, seq), Ok(()));
    let mut head = Vec::new();
    full.encode_head(&mut head);
    let written_then = b"\x01\x04news\x02\x05order\x03\x03o-1\x04\x04\x05\0\0\0\x05\x031.2\0\0\0";
    assert_eq!(head, written_then);
}

#[test]
fn unknown_optional_parts_are_skipped() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let narrow = b"\x01\x04news\x88\x02zz";
    let wide = b"\x01\x04news\xc9\x05\0zzzzz";
    put(&keeper, narrow, 0, b"narrow");
    put(&keeper, wide, 0, b"wide");
    put(&keeper, b"\x01\x04news", 1 << 15, b"flag");
    assert_eq!(texts(&drain(&mut keeper)), ["narrow", "wide", "flag"]);
}

#[test]
fn unknown_required_parts_cost_their_event_only() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let epoch = keeper.current().epoch();
    let mut unsupported = 0;
    // Ten laps of them: far more than a broken publisher is forgiven.
    for n in 0..640 {
        match n % 3 {
            0 => put(&keeper, b"\x01\x04news\x09\x01z", 0, b"tag"),
            1 => put(&keeper, b"\x01\x04news\x4a\x01\0z", 0, b"wide"),
            _ => put(&keeper, b"\x01\x04news", 1 << 5, b"flag"),
        };
        for next in drain(&mut keeper) {
            let Next::Unreadable { why, .. } = next else {
                panic!("{next:?}")
            };
            assert!(why.is_unsupported(), "{why}");
            unsupported += 1;
        }
    }
    assert_eq!((unsupported, keeper.distrusts()), (640, 0));
    home.publisher().publish(&event(b"after")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["after"]);
    assert_eq!(keeper.current().epoch(), epoch);
}

#[test]
fn a_malformed_head_is_no_newer_one() {
    let decode = |head: &[u8], flags| {
        let head = Bytes::copy_from_slice(head);
        let len = head.len() as u16;
        Event::decode(head, len, flags, 0)
    };
    for (head, flags, expected) in [
        // Runs over the end, although its tag is unknown.
        (&b"\x01\x01a\x09\xffz\0\0"[..], 0, DecodeError::Head),
        (b"\x01\x01a\x4a\xff\xffz\0", 0, DecodeError::Head),
        // Out of order.
        (
            b"\x01\x01a\x88\x01z\x02\x01e\0\0\0\0\0\0\0",
            0,
            DecodeError::Head,
        ),
        // Channels and topics.
        (b"\x01\x01a\x41\x01\0b\0", 0, DecodeError::Head),
        (b"\x41\x01\0b\x41\x01\0b", 0, DecodeError::Head),
        (b"\x41\x01\0\x01", 0, DecodeError::Name),
        // Private is a property of topics.
        (b"\x01\x01a\0\0\0\0\0", 1 << 4, DecodeError::Flags),
        (b"\x01\x01a\x86\x01\n\0\0", 0, DecodeError::Name),
        (b"\x01\x01a\x87\x01z\0\0", 0, DecodeError::Head),
    ] {
        assert_eq!(decode(head, flags), Err(expected), "{head:?}");
    }
    assert!(decode(b"\x41\x01\0b\0\0\0\0", 1 << 4).is_ok_and(|event| event.is_private()));
}

#[test]
fn an_id_in_the_form_of_a_cluster_cursor_is_refused_at_the_border_only() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let taken = EventRef {
        id: Some(b"~AAAAAAAAAA"),
        ..event(b"old")
    };
    assert!(taken.check().is_err());
    // An older publisher does not know the form.
    home.publisher().publish(&taken).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["old"]);
}

#[test]
fn of_events_with_one_key_the_first_counts() {
    let home = Home::small();
    let mut keeper = home.keeper();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let mut publisher = home.publisher();
            scope.spawn(move || {
                for round in 0..10 {
                    let key = format!("job-{round}");
                    let data = format!("{round} by {n}");
                    publisher
                        .publish(&keyed(key.as_bytes(), data.as_bytes()))
                        .unwrap();
                }
            });
        }
    });
    let found = drain(&mut keeper);
    let first: Vec<_> = texts(&found);
    let mut rounds: Vec<_> = first.iter().map(|text| text.split(' ').next()).collect();
    rounds.sort();
    rounds.dedup();
    assert_eq!((first.len(), rounds.len()), (10, 10), "{first:?}");
    let repeated = |found: &[Next]| {
        let repeated = found.iter().filter(|n| matches!(n, Next::Repeated { .. }));
        repeated.count()
    };
    assert_eq!(repeated(&found), 30);
    // No reader finds the others, and nothing is reported as lost.
    drop(keeper);
    let mut keeper = home.keeper();
    let again = drain(&mut keeper);
    assert_eq!(texts(&again), first);
    assert_eq!(again.len(), first.len());
    // Also by the keys that are still remembered.
    home.publisher().publish(&keyed(b"job-3", b"late")).unwrap();
    assert_eq!(repeated(&drain(&mut keeper)), 1);
}

#[test]
fn a_key_is_free_again_when_the_first_is_overwritten() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    publisher.publish(&keyed(b"k", b"first")).unwrap();
    publisher.publish(&keyed(b"k", b"second")).unwrap();
    drain(&mut keeper);
    for n in 0..63 {
        publisher.publish(&event(&[b'0' + n % 10])).unwrap();
    }
    drain(&mut keeper);
    publisher.publish(&keyed(b"k", b"third")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["third"]);
    assert_eq!(keeper.keys(), 1);
    // What was taken out stays out, although what it repeated is gone.
    drop(keeper);
    let all = texts(&drain(&mut home.keeper()));
    assert!(!all.contains(&"second".to_owned()), "{all:?}");
}

#[test]
fn a_key_counts_for_a_lap_although_publishers_are_ahead_of_the_reader() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    publisher.publish(&keyed(b"k", b"first")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["first"]);
    for _ in 0..50 {
        publisher.publish(&event(b"other")).unwrap();
    }
    publisher.publish(&keyed(b"k", b"again")).unwrap();
    // The first is overwritten before the second is read.
    for _ in 0..20 {
        publisher.publish(&event(b"other")).unwrap();
    }
    let found = drain(&mut keeper);
    assert!(found.iter().any(|next| matches!(next, Next::Lapped { .. })));
    assert!(!texts(&found).contains(&"again".to_owned()));
}

#[test]
fn a_key_counts_across_a_change_of_sizes() {
    let mut home = Home::small();
    let mut publisher = home.publisher();
    let mut keeper = home.keeper();
    publisher.publish(&keyed(b"k", b"first")).unwrap();
    drain(&mut keeper);
    drop(keeper);
    home.spec.slots = 128;
    let mut keeper = home.keeper();
    publisher.publish(&keyed(b"k", b"again")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["first"]);
}

#[test]
fn a_publisher_killed_between_claim_and_commit_does_not_use_its_key_up() {
    let home = Home::small();
    let mut keeper = home.keeper();
    keeper.current().ring().tail().fetch_add(1, Relaxed);
    home.publisher().publish(&keyed(b"k", b"retried")).unwrap();
    assert_eq!(texts(&drain(&mut keeper)), ["retried"]);
}

#[test]
fn an_erased_event_is_a_hole_for_every_reader() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    let large = vec![b'l'; 2000];
    publisher.publish(&event(b"one")).unwrap();
    let middle = publisher.publish(&event(&large)).unwrap().seq;
    let last = publisher.publish(&event(b"last")).unwrap().seq;
    drain(&mut keeper);
    let segment = keeper.current().clone();
    assert!(segment.erase(middle) && segment.erase(last));
    assert!(!segment.erase(last), "it is gone already");
    assert!(!segment.erase(last + 1), "nothing is there yet");
    assert_eq!(segment.read(middle), Fetch::Hole);
    // The last one that was handed out, too: the ring is still the one that was served.
    let epoch = segment.epoch();
    drop((keeper, segment));
    let mut keeper = home.keeper();
    assert_eq!((keeper.given_up(), keeper.current().epoch()), (None, epoch));
    let found = drain(&mut keeper);
    assert_eq!((texts(&found), found.len()), (vec!["one".to_owned()], 1));
    // The slots are used again.
    for n in 0..200u64 {
        publisher.publish(&event(n.to_string().as_bytes())).unwrap();
        assert_eq!(texts(&drain(&mut keeper)), [n.to_string()]);
    }
}

#[test]
fn topics_and_imported_events_have_their_room() {
    let home = Home::small();
    let keeper = home.keeper();
    let ring = keeper.current().ring();
    let all = Features::KEY | Features::TOPIC | Features::IMPORTED | Features::GAP;
    features::beat(ring, now_ns(), all);
    assert_eq!(
        all.names().collect::<Vec<_>>(),
        ["key", "topic", "imported", "gap"]
    );
    let long = "t".repeat(1024);
    let imported = Cursor {
        epoch: Epoch([1, 2, 3, 4, 5, 6]),
        seq: 77,
    };
    let source = EventRef {
        channels: &[],
        topics: &[b"https://example.com/books/1", long.as_bytes()],
        private: true,
        imported: Some(imported),
        key: Some(b"k"),
        ..event(b"data")
    };
    assert_eq!(source.check(), Ok(()));
    let seq = home.publisher().publish(&source).unwrap().seq;
    let Fetch::Event(found) = keeper.current().read(seq) else {
        panic!("not there")
    };
    let topics: Vec<_> = found.topics().collect();
    assert_eq!(topics, ["https://example.com/books/1", &long]);
    assert_eq!((found.channels().count(), found.is_private()), (0, true));
    assert_eq!((found.imported(), found.key()), (Some(imported), Some("k")));
}

fn gap_record(from: u64, to: u64) -> EventRef<'static> {
    let epoch = Epoch([1, 2, 3, 4, 5, 6]);
    EventRef {
        gap: Some(from),
        imported: Some(Cursor { epoch, seq: to }),
        ..EventRef::EMPTY
    }
}

#[test]
fn what_another_host_lost_is_a_record_that_this_askrd_reads() {
    let home = Home::small();
    let mut keeper = home.keeper();
    let mut publisher = home.publisher();
    publisher.publish(&gap_record(40, 52)).unwrap();
    let Some(Next::Event { event, .. }) = drain(&mut keeper).pop() else {
        panic!("not there")
    };
    assert_eq!((event.gap(), event.imported().unwrap().seq), (Some(40), 52));
    for feature in [Features::IMPORTED, Features::GAP] {
        assert!(publisher.status().features.contain(feature));
    }
}

#[test]
fn an_older_askrd_takes_what_another_host_lost_for_one_gap() {
    let home = Home::small();
    let keeper = home.keeper();
    let mut head = Vec::new();
    gap_record(40, 52).encode_head(&mut head);
    // Its tag is a required one: the first version with such tags reports one gap.
    assert!(head[0] & 0x80 == 0);
    // It says which parts it reads, and then none is published.
    features::beat(keeper.current().ring(), now_ns(), Features::KEY);
    let error = home.publisher().publish(&gap_record(40, 52)).unwrap_err();
    assert_eq!(error.failure, Failure::Unsupported);
}

#[test]
fn a_restart_keeps_the_ring_whose_last_events_were_read_and_not_handed_out() {
    type Publish = fn(&Keeper, &Home);
    let repeated: Publish = |_, home| {
        home.publisher().publish(&keyed(b"k", b"again")).unwrap();
    };
    let unsupported: Publish = |keeper, _| {
        put(keeper, b"\x01\x04news\x09\x01a", 0, b"newer");
    };
    for passed_over in [repeated, unsupported] {
        let home = Home::small();
        let mut keeper = home.keeper();
        home.publisher()
            .publish(&keyed(b"k", b"handed out"))
            .unwrap();
        (0..50).for_each(|_| passed_over(&keeper, &home));
        assert_eq!(texts(&drain(&mut keeper)), ["handed out"]);
        drop(keeper);
        // Of 64 slots: the event that was handed out is gone, what came behind it is not.
        let mut publisher = home.publisher();
        for _ in 0..20 {
            publisher.publish(&event(b"meanwhile")).unwrap();
        }
        let mut keeper = home.keeper();
        assert_eq!(keeper.given_up(), None);
        assert_eq!(texts(&drain(&mut keeper)), ["meanwhile"; 20]);
    }
}

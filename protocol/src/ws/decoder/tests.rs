//! The decoder with what the RFC forbids, with the bytes split in every way, and with noise.

use proptest::prelude::*;

use super::*;
use crate::ws::frame;

const MAX: usize = 1 << 17;

/// A message that outlives its input.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Violation(u16),
}

fn owned(message: Message) -> Got {
    match message {
        Message::Text(text) => Got::Text(text.into_owned()),
        Message::Binary(bytes) => Got::Binary(bytes.into_owned()),
        Message::Ping(bytes) => Got::Ping(bytes.into_owned()),
        Message::Pong(bytes) => Got::Pong(bytes.into_owned()),
        Message::Close { code, reason } => Got::Close(code, reason.into_owned()),
    }
}

/// A frame as a client sends it, with a mask that reveals if it is applied wrongly.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x5a, 0xc3, 0x17, 0x8e];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

fn feed(decoder: &mut Decoder, bytes: &[u8], max: usize) -> Vec<Got> {
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    let mut all = Vec::new();
    loop {
        match decoder.next(&mut input, max) {
            Ok(Some(message)) => all.push(owned(message)),
            Ok(None) => break,
            Err(why) => all.push(Got::Violation(why.code)),
        }
    }
    assert!(input.is_empty(), "all of the input is consumed");
    all
}

fn decode(bytes: &[u8]) -> Vec<Got> {
    feed(&mut Decoder::default(), bytes, MAX)
}

fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

#[test]
fn an_idle_decoder_is_24_bytes_and_holds_nothing() {
    assert_eq!(size_of::<Decoder>(), 24);
    let mut decoder = Decoder::default();
    let bytes = [masked(0x01, b"a"), masked(0x89, b"p"), masked(0x80, b"b")].concat();
    for byte in &bytes {
        feed(&mut decoder, &[*byte], MAX);
    }
    assert!(!decoder.is_pending());
    assert_eq!(decoder.held(), 0);
}

#[test]
fn a_whole_message_is_not_copied() {
    let mut bytes = masked(0x81, "grüße".as_bytes());
    let mut input = &mut bytes[..];
    let mut decoder = Decoder::default();
    let message = decoder.next(&mut input, MAX).unwrap();
    assert_eq!(message, Some(Message::Text(Cow::Borrowed("grüße"))));
    assert!(matches!(message, Some(Message::Text(Cow::Borrowed(_)))));
}

#[test]
fn messages_of_every_kind() {
    let bytes = [
        masked(0x81, b"Hello"),
        masked(0x82, &[0, 255]),
        masked(0x89, b"are you there"),
        masked(0x8a, b""),
        masked(0x88, b"\x03\xe8bye"),
        masked(0x81, b"after the end"),
    ];
    assert_eq!(
        decode(&bytes.concat()),
        [
            text("Hello"),
            Got::Binary(vec![0, 255]),
            Got::Ping(b"are you there".to_vec()),
            Got::Pong(vec![]),
            Got::Close(Some(1000), "bye".into()),
        ]
    );
    assert_eq!(decode(&masked(0x88, b"")), [Got::Close(None, "".into())]);
}

#[test]
fn control_frames_may_arrive_between_fragments() {
    let bytes = [
        masked(0x01, b"a\xc3"),
        masked(0x89, b"1"),
        masked(0x00, b""),
        masked(0x8a, b"2"),
        masked(0x80, b"\xa9z"),
        masked(0x81, b"next"),
    ];
    assert_eq!(
        decode(&bytes.concat()),
        [
            Got::Ping(b"1".to_vec()),
            Got::Pong(b"2".to_vec()),
            text("aéz"),
            text("next")
        ]
    );
}

#[test]
fn what_the_rfc_forbids_ends_with_1002() {
    let mut unmasked = frame::text(b"x");
    unmasked.extend(masked(0x81, b"y"));
    let with_length = |length: &[u8]| [&[0x82], length, &[0; 4]].concat();
    for (bytes, why) in [
        (unmasked, "no mask"),
        (masked(0xc1, b"x"), "reserved bit 1"),
        (masked(0xa1, b"x"), "reserved bit 2"),
        (masked(0x91, b"x"), "reserved bit 3"),
        (masked(0x83, b"x"), "opcode 3"),
        (masked(0x87, b"x"), "opcode 7"),
        (masked(0x8b, b"x"), "opcode 11"),
        (masked(0x8f, b"x"), "opcode 15"),
        (masked(0x09, b"x"), "a ping in fragments"),
        (masked(0x08, b""), "a close in fragments"),
        (masked(0x89, &[0; 126]), "a long ping"),
        (masked(0x80, b"x"), "nothing to continue"),
        (masked(0x00, b"x"), "nothing to continue, and more to come"),
        (
            [masked(0x01, b"x"), masked(0x81, b"y")].concat(),
            "a second message",
        ),
        (
            [masked(0x01, b"x"), masked(0x02, b"y")].concat(),
            "a second beginning",
        ),
        (with_length(&[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), "high bit"),
        (with_length(&[0xfe, 0, 125]), "125 in 16 bits"),
        (
            with_length(&[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            "64 bits",
        ),
        (masked(0x88, b"\x03"), "half a close code"),
    ] {
        let got = decode(&bytes);
        assert_eq!(got.last(), Some(&Got::Violation(1002)), "{why}: {got:?}");
        assert!(
            !got.contains(&text("y")),
            "{why}: input after it is ignored"
        );
    }
}

#[test]
fn close_codes_that_may_not_be_sent() {
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        let payload = u16::to_be_bytes(code);
        assert_eq!(
            decode(&masked(0x88, &payload)),
            [Got::Violation(1002)],
            "{code}"
        );
    }
    for code in [
        1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4200, 4999,
    ] {
        let payload = u16::to_be_bytes(code);
        let got = decode(&masked(0x88, &payload));
        assert_eq!(got, [Got::Close(Some(code), "".into())]);
    }
}

#[test]
fn text_that_is_not_utf8_ends_with_1007() {
    for bad in [
        &b"\xff"[..],
        b"a\xc3",
        b"\xed\xa0\x80",     // a surrogate
        b"\xc0\xaf",         // longer than needed
        b"\xf4\x90\x80\x80", // beyond Unicode
        b"\xc3(",
    ] {
        assert_eq!(
            decode(&masked(0x81, bad)),
            [Got::Violation(1007)],
            "{bad:x?}"
        );
        let (a, b) = bad.split_at(1);
        let halves = [masked(0x01, a), masked(0x80, b)].concat();
        assert_eq!(decode(&halves), [Got::Violation(1007)], "{bad:x?}");
        let close = [b"\x03\xe8", bad].concat();
        assert_eq!(decode(&masked(0x88, &close)), [Got::Violation(1007)]);
    }
    assert_eq!(decode(&masked(0x82, b"\xff")), [Got::Binary(vec![255])]);
}

#[test]
fn text_ends_the_connection_as_soon_as_it_cannot_become_utf8() {
    // The frame is 100 bytes long; the offending byte is its fourth.
    let bytes = masked(0x81, &[b"ok\xf4\x90".to_vec(), vec![b'x'; 96]].concat());
    let mut decoder = Decoder::default();
    assert_eq!(feed(&mut decoder, &bytes[..6 + 3], MAX), []);
    assert_eq!(
        feed(&mut decoder, &bytes[9..10], MAX),
        [Got::Violation(1007)]
    );
    assert_eq!(
        (feed(&mut decoder, &bytes[10..], MAX), decoder.held()),
        (vec![], 0)
    );
}

#[test]
fn a_message_too_long_is_refused_at_its_header() {
    let mut decoder = Decoder::default();
    let bytes = masked(0x81, &[b'x'; 1001]);
    assert_eq!(
        feed(&mut decoder, &bytes[..8], 1000),
        [Got::Violation(1009)]
    );

    let exact = [masked(0x01, &[b'x'; 600]), masked(0x80, &[b'x'; 400])].concat();
    let got = feed(&mut Decoder::default(), &exact, 1000);
    assert_eq!(got, [text(&"x".repeat(1000))]);
    let got = feed(&mut Decoder::default(), &exact, 999);
    assert_eq!(got, [Got::Violation(1009)]);
    // Control frames are bounded by the protocol alone.
    let ping = feed(&mut Decoder::default(), &masked(0x89, b"1234"), 2);
    assert_eq!(ping, [Got::Ping(b"1234".to_vec())]);
}

#[test]
fn an_announced_length_takes_no_memory() {
    let mut decoder = Decoder::default();
    let head = [0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4, 5];
    assert_eq!(feed(&mut decoder, &head, usize::MAX), []);
    assert!(decoder.is_pending());
    assert!(decoder.held() < 256, "{}", decoder.held());
}

/// A part of a valid conversation.
#[derive(Debug, Clone)]
enum Part {
    Text(Vec<String>),
    Binary(Vec<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn part() -> impl Strategy<Value = Part> {
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        prop::collection::vec(".{0,40}", 1..4).prop_map(Part::Text),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4)
            .prop_map(Part::Binary),
        control().prop_map(Part::Ping),
        control().prop_map(Part::Pong),
    ]
}

/// The bytes on the wire, and what they decode to. Texts are fragmented anywhere, also within characters.
fn wire(parts: &[Part], between: Option<&[u8]>) -> (Vec<u8>, Vec<Got>) {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for part in parts {
        let (first, payload, fragments, whole) = match part {
            Part::Text(texts) => {
                let all = texts.concat();
                (0x01, all.clone().into_bytes(), texts.len(), Got::Text(all))
            }
            Part::Binary(pieces) => {
                let all = pieces.concat();
                (0x02, all.clone(), pieces.len(), Got::Binary(all))
            }
            Part::Ping(payload) => (0x09, payload.clone(), 1, Got::Ping(payload.clone())),
            Part::Pong(payload) => (0x0a, payload.clone(), 1, Got::Pong(payload.clone())),
        };
        let size = payload.len().div_ceil(fragments).max(1);
        let mut chunks: Vec<&[u8]> = payload.chunks(size).collect();
        if chunks.is_empty() {
            chunks.push(b"");
        }
        let last = chunks.len() - 1;
        for (n, chunk) in chunks.iter().enumerate() {
            let opcode = if n == 0 { first } else { 0 };
            let end = if n == last { 0x80 } else { 0 };
            bytes.extend(masked(opcode | end, chunk));
            if let Some(ping) = between.filter(|_| n < last) {
                bytes.extend(masked(0x89, ping));
                expected.push(Got::Ping(ping.to_vec()));
            }
        }
        expected.push(whole);
    }
    (bytes, expected)
}

proptest! {
    #[test]
    fn bytes_split_anywhere_decode_to_the_same(
        parts in prop::collection::vec(part(), 0..6),
        between in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        splits in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let (bytes, expected) = wire(&parts, between.as_deref());
        prop_assert_eq!(decode(&bytes), expected.clone());
        let mut splits: Vec<usize> = splits.iter().map(|split| split.index(bytes.len() + 1)).collect();
        splits.extend([0, bytes.len()]);
        splits.sort_unstable();
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for pair in splits.windows(2) {
            got.extend(feed(&mut decoder, &bytes[pair[0]..pair[1]], MAX));
        }
        prop_assert_eq!(got, expected);
        prop_assert!(!decoder.is_pending());
        prop_assert_eq!(decoder.held(), 0);
    }

    #[test]
    fn noise_never_panics_and_is_never_held_beyond_its_length(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20),
        start in prop::option::of(0u8..16),
    ) {
        let mut decoder = Decoder::default();
        let mut sent = 0;
        // A valid header reaches more code than noise alone.
        let head: Vec<u8> = start.map(|op| vec![0x80 | op, 0xfe, 1, 0, 0, 0, 0, 0]).unwrap_or_default();
        let mut ended = false;
        for chunk in std::iter::once(&head).chain(&noise) {
            sent += chunk.len();
            let got = feed(&mut decoder, chunk, 4096);
            prop_assert!(!ended || got.is_empty(), "nothing is decoded after the end");
            ended |= got.iter().any(|g| matches!(g, Got::Violation(_) | Got::Close(..)));
            prop_assert!(decoder.held() <= 2 * sent + 256);
        }
    }

    #[test]
    fn noise_split_anywhere_decodes_to_the_same(
        noise in prop::collection::vec(any::<u8>(), 0..80),
        fixed in prop::collection::vec((0usize..16, 0usize..5), 0..3),
        split in any::<prop::sample::Index>(),
    ) {
        let mut noise = noise;
        for (at, what) in fixed {
            // Valid headers, which chance alone would rarely produce.
            if let Some(two) = noise.get_mut(at..at + 2) {
                two.copy_from_slice(&[[0x81, 0x82], [0x01, 0x83], [0x80, 0x81], [0x89, 0x80], [0x88, 0x82]][what]);
            }
        }
        let whole = decode(&noise);
        let mut decoder = Decoder::default();
        let (a, b) = noise.split_at(split.index(noise.len() + 1));
        let mut halves = feed(&mut decoder, a, MAX);
        halves.extend(feed(&mut decoder, b, MAX));
        prop_assert_eq!(halves, whole);
    }

    #[test]
    fn a_frame_of_the_server_is_decoded_again(payload in prop::collection::vec(any::<u8>(), 0..70_000)) {
        // With a mask inserted, a server's frame is a client's.
        let mut bytes = frame::binary(&payload);
        bytes[1] |= 0x80;
        let header = bytes.len() - payload.len();
        bytes.splice(header..header, [0; 4]);
        prop_assert_eq!(decode(&bytes), [Got::Binary(payload)]);
    }
}

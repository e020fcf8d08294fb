//! The WebSocket decoder beside tungstenite: given the same bytes, both read the same messages and agree on
//! whether the protocol was broken, however the bytes are cut up.
//!
//! Where they may differ is written down in `agree` and `ours_may_be_stricter`: ours refuses text that cannot
//! become UTF-8 as soon as that is certain, tungstenite when the message is whole.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use protocol::ws::decoder::{Decoder, Message};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, WebSocket};

const MAX: usize = 64 << 10;

/// What was read, in the words of neither.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// More bytes are needed, or the peer closed in due form.
    Open,
    Violation(u16),
}

fn ours(bytes: &[u8], cuts: &[usize]) -> (Vec<Received>, End) {
    let mut decoder = Decoder::default();
    let mut read = Vec::new();
    let (mut bytes, mut cuts) = (bytes.to_vec(), cuts.iter().cycle());
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        let at = cuts.next().map_or(rest.len(), |cut| rest.len().min(*cut));
        let (mut part, behind) = std::mem::take(&mut rest).split_at_mut(at);
        rest = behind;
        loop {
            read.push(match decoder.next(&mut part, MAX) {
                Ok(None) => break,
                Ok(Some(Message::Text(text))) => Received::Text(text.into_owned()),
                Ok(Some(Message::Binary(data))) => Received::Binary(data.into_owned()),
                Ok(Some(Message::Ping(data))) => Received::Ping(data.into_owned()),
                Ok(Some(Message::Pong(data))) => Received::Pong(data.into_owned()),
                Ok(Some(Message::Close { code, reason })) => {
                    let close = code.map(|code| (code, reason.into_owned()));
                    read.push(Received::Close(close));
                    return (read, End::Open);
                }
                Err(why) => return (read, End::Violation(why.code)),
            });
        }
    }
    (read, End::Open)
}

/// Reads what there is, and takes everything that is written.
struct Peer(Cursor<Vec<u8>>);

impl Read for Peer {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.0.read(to)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite reads, and whether it found a violation.
fn theirs(bytes: &[u8]) -> (Vec<Received>, bool) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX))
        .max_frame_size(Some(MAX));
    let peer = Peer(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(peer, Role::Server, Some(config));
    let mut read = Vec::new();
    loop {
        read.push(match socket.read() {
            Ok(tungstenite::Message::Text(text)) => Received::Text(text.to_string()),
            Ok(tungstenite::Message::Binary(data)) => Received::Binary(data.to_vec()),
            Ok(tungstenite::Message::Ping(data)) => Received::Ping(data.to_vec()),
            Ok(tungstenite::Message::Pong(data)) => Received::Pong(data.to_vec()),
            Ok(tungstenite::Message::Close(close)) => {
                let close = close.map(|close| (close.code.into(), close.reason.to_string()));
                read.push(Received::Close(close));
                return (read, false);
            }
            Ok(tungstenite::Message::Frame(_)) => unreachable!("only when frames are written"),
            Err(Error::Io(_)) => return (read, false),
            Err(_) => return (read, true),
        });
    }
}

/// Whether the last frame is not whole (tungstenite judges frames, ours each byte of a header), or a length is
/// written in more bytes than it needs (RFC 6455, 5.2 forbids it; tungstenite lets it pass).
fn ours_may_be_stricter(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let Some(second) = bytes.get(1) else {
            return true;
        };
        let (wide, masked) = (second & 0x7f, second >> 7);
        let extended = match wide {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let header = 2 + extended + 4 * usize::from(masked);
        if bytes.len() < header {
            return true;
        }
        let length = match extended {
            0 => u64::from(wide),
            _ => bytes[2..2 + extended]
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        if extended == 2 && length < 126 || extended == 8 && length < 65_536 {
            return true;
        }
        let whole = usize::try_from(length).ok();
        let Some(rest) = whole.and_then(|length| bytes[header..].get(length..)) else {
            return true;
        };
        bytes = rest;
    }
    false
}

fn agree(bytes: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    let (read, end) = ours(bytes, cuts);
    prop_assert_eq!(
        &ours(bytes, &[usize::MAX]),
        &(read.clone(), end),
        "cut up or whole"
    );
    let (expected, violation) = theirs(bytes);
    let mut expected = &expected[..];
    match end {
        // Earlier than tungstenite, which may still have read control frames in between, or nothing at all.
        End::Violation(1007) => {
            prop_assert!(expected.len() >= read.len(), "{expected:?} {read:?}");
            let between = &expected[read.len()..];
            prop_assert!(
                between.iter().all(|one| matches!(
                    one,
                    Received::Ping(_) | Received::Pong(_) | Received::Close(_)
                )),
                "{between:?}"
            );
            expected = &expected[..read.len()];
        }
        End::Violation(_) => {
            // A close frame whose code nobody may send: tungstenite hands on the code that it answers with.
            if let [before @ .., Received::Close(Some(_))] = expected
                && before.len() == read.len()
            {
                expected = before;
            } else {
                let stricter = ours_may_be_stricter(bytes);
                let shown = &bytes[..bytes.len().min(40)];
                prop_assert!(violation || stricter, "only ours: {end:?} {shown:02x?}");
                if stricter {
                    prop_assert!(expected.len() >= read.len(), "{expected:?} {read:?}");
                    expected = &expected[..read.len()];
                }
            }
        }
        End::Open => prop_assert!(
            !violation,
            "only theirs is a violation {:02x?}",
            &bytes[..bytes.len().min(40)]
        ),
    }
    prop_assert_eq!(&read[..], expected);
    Ok(())
}

/// A client's frame, whole and masked.
fn frame(first: u8, payload: &[u8], mask: [u8; 4], wide: u8) -> Vec<u8> {
    let mut out = vec![first];
    match (payload.len(), wide) {
        (len @ ..126, 0) => out.push(0x80 | len as u8),
        (len @ ..65536, 0 | 1) => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        (len, _) => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    out
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => ".{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..130),
        1 => Just(vec![b'x'; 65_600]),
        1 => prop::sample::select(vec![1000u16, 1001, 1002, 1003, 1007, 1008, 1011, 3000, 4001, 999, 1005, 1006, 5000])
            .prop_flat_map(|code| ".{0,8}".prop_map(move |why| [&code.to_be_bytes()[..], why.as_bytes()].concat())),
    ]
}

/// Mostly what clients send; now and then a reserved bit, an unknown opcode, or a length in too many bytes.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        // FIN and text, binary, ping, pong, close; text, binary, continuation with more to come; their end.
        12 => prop::sample::select(vec![0x81u8, 0x82, 0x89, 0x8a, 0x01, 0x02, 0x00, 0x80]),
        1 => Just(0x88u8),
        1 => any::<u8>(),
    ];
    let wide = prop_oneof![10 => Just(0u8), 1 => 1..3u8];
    let one = (first, payload(), any::<[u8; 4]>(), wide)
        .prop_map(|(first, payload, mask, wide)| frame(first, &payload, mask, wide));
    prop::collection::vec(one, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn frames_are_read_as_tungstenite_reads_them(bytes in frames(), cuts in prop::collection::vec(1..200usize, 1..5)) {
        agree(&bytes, &cuts)?;
    }

    #[test]
    fn damaged_frames_are_judged_as_tungstenite_judges_them(
        bytes in frames(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        end in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(1..200usize, 1..5),
    ) {
        let mut bytes = bytes;
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = with;
            bytes.truncate(end.index(bytes.len()) + 1);
        }
        agree(&bytes, &cuts)?;
    }
}

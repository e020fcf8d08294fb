//! Any bytes as a client's frames: messages and an end, the same however they are cut up; memory held only
//! for what came. And any bytes as a message: framed, cut up, and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::ws::decoder::{Decoder, Message, may_be_sent};
use protocol::ws::frame::{self, Opcode};

const MAX: usize = 600;

#[derive(Debug, PartialEq)]
enum Said {
    Message(Opcode, Vec<u8>),
    Close(Option<u16>, String),
    Violation(u16),
}

fuzz_target!(|data: &[u8]| {
    let Some((&[first, second], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let whole = decode(bytes, bytes.len().max(1), bytes.len().max(1));
    assert_eq!(whole, decode(bytes, 1, 1));
    let (a, b) = (usize::from(first % 16) + 1, usize::from(second) + 1);
    assert_eq!(whole, decode(bytes, a, b));
    let ends = |said: &Said| !matches!(said, Said::Message(..));
    let end = whole.iter().position(ends);
    assert!(
        end.is_none_or(|end| end + 1 == whole.len()),
        "nothing comes after the end"
    );

    // What a server frames, with a mask put in, is a client's.
    let mut out = Vec::new();
    frame::put(&mut out, Opcode::Binary, bytes);
    let header = out.len() - bytes.len();
    out[1] |= 0x80;
    let mask = [first, second, first ^ 0x55, second ^ 0xaa];
    for (byte, key) in out[header..].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    out.splice(header..header, mask);
    let expected = match bytes.len() <= MAX {
        true => Said::Message(Opcode::Binary, bytes.to_vec()),
        false => Said::Violation(1009),
    };
    assert_eq!(decode(&out, a, b), [expected]);
});

/// In pieces of `a` and `b` bytes in turn.
fn decode(mut bytes: &[u8], a: usize, b: usize) -> Vec<Said> {
    let mut decoder = Decoder::default();
    let (mut said, mut came) = (Vec::new(), 0);
    for size in [a, b].into_iter().cycle() {
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        came += piece.len();
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            match decoder.next(&mut input, MAX) {
                Ok(Some(message)) => said.push(own(message)),
                Ok(None) => break,
                Err(why) => said.push(Said::Violation(why.code)),
            }
        }
        assert!(input.is_empty());
        assert!(decoder.held() <= 2 * came + 256);
        bytes = rest;
        if bytes.is_empty() {
            break;
        }
    }
    said
}

fn own(message: Message) -> Said {
    match message {
        Message::Text(text) => {
            assert!(text.len() <= MAX);
            Said::Message(Opcode::Text, text.as_bytes().to_vec())
        }
        Message::Binary(bytes) => {
            assert!(bytes.len() <= MAX);
            Said::Message(Opcode::Binary, bytes.into_owned())
        }
        Message::Ping(bytes) => {
            assert!(bytes.len() <= frame::MAX_CONTROL);
            Said::Message(Opcode::Ping, bytes.into_owned())
        }
        Message::Pong(bytes) => {
            assert!(bytes.len() <= frame::MAX_CONTROL);
            Said::Message(Opcode::Pong, bytes.into_owned())
        }
        Message::Close { code, reason } => {
            assert!(code.is_none_or(may_be_sent));
            Said::Close(code, reason.into_owned())
        }
    }
}

//! Frames as a server sends them (RFC 6455, section 5.2): whole, unmasked, so that one frame serves any
//! number of receivers. Pure.
//!
//! ```text
//! 1 │000│ opcode │ 0 │ length: 7 bits, or 126 and 16, or 127 and 64 │ payload
//! FIN  └ no extension └ not masked
//! ```

/// The type of a frame (RFC 6455, section 11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// The most bytes of a control frame's payload (RFC 6455, section 5.5).
pub const MAX_CONTROL: usize = 125;
/// The most bytes of a header that a server sends.
pub const MAX_HEADER: usize = 10;

/// A text frame. The payload must be UTF-8, which is not checked.
pub fn text(payload: &[u8]) -> Vec<u8> {
    whole(Opcode::Text, payload)
}

/// A binary frame.
#[allow(
    dead_code,
    reason = "no protocol here sends any; the echo server for conformance tests does"
)]
pub fn binary(payload: &[u8]) -> Vec<u8> {
    whole(Opcode::Binary, payload)
}

/// A ping frame. The payload is truncated to 125 bytes: a control frame cannot carry more.
pub fn ping(payload: &[u8]) -> Vec<u8> {
    whole(Opcode::Ping, &payload[..payload.len().min(MAX_CONTROL)])
}

/// A pong frame, which answers a ping with the same payload. Truncated like [`ping`].
pub fn pong(payload: &[u8]) -> Vec<u8> {
    whole(Opcode::Pong, &payload[..payload.len().min(MAX_CONTROL)])
}

/// A close frame. `code` must be one that may be sent (see `decoder::may_be_sent`). A reason longer than 123
/// bytes is truncated between characters.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(MAX_CONTROL - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = Vec::with_capacity(2 + end);
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    whole(Opcode::Close, &payload)
}

/// A close frame without code and reason, which answers one without them.
pub fn close_empty() -> Vec<u8> {
    whole(Opcode::Close, b"")
}

/// Appends a complete frame to `out`.
pub fn put(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.reserve(MAX_HEADER + payload.len());
    out.push(0x80 | opcode as u8);
    match payload.len() {
        len @ 0..=125 => out.push(len as u8),
        len @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

fn whole(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, opcode, payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_examples() {
        assert_eq!(text(b"Hello"), b"\x81\x05Hello");
        assert_eq!(ping(b"Hello"), b"\x89\x05Hello");
        assert_eq!(pong(b"Hello"), b"\x8a\x05Hello");
        assert_eq!(binary(&[7; 256])[..4], [0x82, 126, 1, 0]);
        let long = [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(binary(&[7; 65536])[..10], long);
    }

    #[test]
    fn a_length_takes_the_fewest_bytes_that_hold_it() {
        for (len, header) in [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)] {
            assert_eq!(text(&vec![b'x'; len]).len(), header + len);
        }
    }

    #[test]
    fn a_close_frame_has_its_code_and_as_much_of_the_reason_as_fits() {
        assert_eq!(close(4200, "go"), b"\x88\x04\x10\x68go");
        assert_eq!(close_empty(), b"\x88\x00");
        let frame = close(1000, &"é".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
        assert_eq!(close(1000, &"x".repeat(500)).len(), 2 + 125);
        assert_eq!(ping(&[b'x'; 500]).len(), 2 + 125);
    }
}

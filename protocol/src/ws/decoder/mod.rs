//! Decodes what clients send as it arrives (RFC 6455, section 5). Made for hostile input: memory grows only with
//! bytes received, never with an announced length, and nothing here panics.
//!
//! ```text
//! bytes ─► header (2 to 14) ─► payload, unmasked in place ┬─ complete: borrowed, nothing copied
//!                                                         └─ a part: collected, text checked so far
//! ```
//!
//! A connection that sends small frames whole, as usual, holds nothing on the heap here. Text is checked as it
//! arrives, so that a message that cannot become valid UTF-8 any more ends the connection at once.

use std::borrow::Cow;

use super::code;
use super::frame::{MAX_CONTROL, Opcode};

/// 2 bytes, 8 of length, 4 of mask.
const MAX_HEADER: usize = 14;

/// The decoder of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The beginning of a header.
    head: [u8; MAX_HEADER],
    head_len: u8,
    /// Set after a close frame or a violation: further input is ignored.
    done: bool,
    /// A frame or message that is not complete yet.
    open: Option<Box<Open>>,
}

/// A complete message or control frame. Borrowed from the input if it arrived in one piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    Ping(Cow<'a, [u8]>),
    Pong(Cow<'a, [u8]>),
    /// To be answered with the same code. No message follows it.
    Close {
        code: Option<u16>,
        reason: Cow<'a, str>,
    },
}

/// How the peer violated the protocol: the code and reason to close with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Violation {
    pub code: u16,
    pub reason: &'static str,
}

#[derive(Debug, Default)]
struct Open {
    /// A frame whose header was received, but not all of its payload.
    frame: Option<Frame>,
    /// A message of which not all frames were received.
    message: Option<Collected>,
    /// An interrupted control frame's payload.
    control: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    last: bool,
    mask: [u8; 4],
    /// Payload bytes not received yet.
    left: usize,
}

#[derive(Debug)]
struct Collected {
    text: bool,
    bytes: Vec<u8>,
    /// Up to where the bytes are known to be UTF-8.
    checked: usize,
}

impl Decoder {
    /// The next message. None: all of `input` is consumed, and more is needed.
    ///
    /// `max`: the most bytes of a text or binary message.
    ///
    /// # Errors
    /// If the peer violated the protocol. From then on all input is ignored.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        max: usize,
    ) -> Result<Option<Message<'a>>, Violation> {
        let found = self.step(input, max);
        if matches!(found, Err(_) | Ok(Some(Message::Close { .. }))) {
            *self = Self {
                done: true,
                ..Self::default()
            };
        }
        found
    }

    /// Whether a close or a violation has been found: nothing that follows counts.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether a message or a frame has begun and not ended.
    #[cfg(test)]
    pub fn is_pending(&self) -> bool {
        self.head_len > 0 || self.open.is_some()
    }

    /// Bytes held on the heap.
    #[allow(dead_code, reason = "the fuzz target and the tests hold it to a bound")]
    pub fn held(&self) -> usize {
        let Some(open) = &self.open else { return 0 };
        let message = open.message.as_ref().map_or(0, |m| m.bytes.capacity());
        size_of::<Open>() + open.control.capacity() + message
    }

    fn step<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        max: usize,
    ) -> Result<Option<Message<'a>>, Violation> {
        if self.done {
            *input = &mut [];
            return Ok(None);
        }
        loop {
            let frame = match self.open.as_mut().and_then(|open| open.frame.take()) {
                Some(frame) => frame,
                None => match self.header(input, max)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let payload = take(input, frame.left);
            unmask(payload, frame.mask);
            let whole = payload.len() == frame.left;
            let message = if frame.opcode.is_control() {
                self.control(frame, payload)?
            } else {
                self.data(frame, payload)?
            };
            if !whole {
                return Ok(None);
            }
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// The next frame's header, checked. None if it is incomplete; then all of `input` is consumed.
    fn header(&mut self, input: &mut &mut [u8], max: usize) -> Result<Option<Frame>, Violation> {
        // The first two bytes determine the header's length, and most of what can be wrong.
        if !self.fill(input, 2) {
            return Ok(None);
        }
        let (first, second) = (self.head[0], self.head[1]);
        let opcode = self.opcode(first, second)?;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if !self.fill(input, 2 + extended + 4) {
            return Ok(None);
        }
        self.head_len = 0;
        let (len, mask) = self.head[2..2 + extended + 4].split_at(extended);
        let len = match extended {
            0 => u64::from(second & 0x7f),
            _ => len.iter().fold(0, |n, b| n << 8 | u64::from(*b)),
        };
        if len >> 63 != 0 {
            return Err(protocol("a frame's length has its highest bit set"));
        }
        // The shortest form is required (RFC 6455, section 5.2).
        if (extended == 2 && len < 126) || (extended == 8 && len <= 0xffff) {
            return Err(protocol(
                "a frame's length is not written in the shortest way",
            ));
        }
        let before = self.message().map_or(0, |message| message.bytes.len());
        if !opcode.is_control() && len > max.saturating_sub(before) as u64 {
            let reason = "the message is longer than is allowed";
            return Err(violation(code::TOO_LARGE, reason));
        }
        Ok(Some(Frame {
            opcode,
            last: first & 0x80 != 0,
            mask: [mask[0], mask[1], mask[2], mask[3]],
            left: len as usize,
        }))
    }

    /// Takes bytes from the input until the header has `len`. False: there were not enough.
    fn fill(&mut self, input: &mut &mut [u8], len: usize) -> bool {
        let have = usize::from(self.head_len);
        let more = take(input, len.saturating_sub(have));
        self.head[have..have + more.len()].copy_from_slice(more);
        self.head_len += more.len() as u8;
        usize::from(self.head_len) >= len
    }

    fn opcode(&self, first: u8, second: u8) -> Result<Opcode, Violation> {
        if first & 0x70 != 0 {
            return Err(protocol(
                "a reserved bit is set, and no extension was agreed",
            ));
        }
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(protocol("the opcode is reserved")),
        };
        if second & 0x80 == 0 {
            return Err(protocol("a client's frames must be masked"));
        }
        if opcode.is_control() {
            if first & 0x80 == 0 {
                return Err(protocol("a control frame must not be fragmented"));
            }
            if usize::from(second & 0x7f) > MAX_CONTROL {
                return Err(protocol(
                    "a control frame's payload is longer than 125 bytes",
                ));
            }
            return Ok(opcode);
        }
        match (opcode, self.message()) {
            (Opcode::Continuation, None) => Err(protocol("there is no message to continue")),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                Err(protocol("the message before is not ended"))
            }
            _ => Ok(opcode),
        }
    }

    fn control<'a>(
        &mut self,
        frame: Frame,
        payload: &'a mut [u8],
    ) -> Result<Option<Message<'a>>, Violation> {
        let pending = self.open.as_ref().is_some_and(|o| !o.control.is_empty());
        if payload.len() < frame.left || pending {
            let open = self.open.get_or_insert_default();
            open.control.extend_from_slice(payload);
            if payload.len() < frame.left {
                open.frame = Some(frame.after(payload.len()));
                return Ok(None);
            }
            let whole = std::mem::take(&mut open.control);
            self.release();
            return control(frame.opcode, Cow::Owned(whole)).map(Some);
        }
        self.release();
        control(frame.opcode, Cow::Borrowed(payload)).map(Some)
    }

    fn data<'a>(
        &mut self,
        frame: Frame,
        payload: &'a mut [u8],
    ) -> Result<Option<Message<'a>>, Violation> {
        let whole = payload.len() == frame.left;
        if whole && frame.last && self.message().is_none() {
            let message = match frame.opcode {
                Opcode::Text => {
                    Message::Text(std::str::from_utf8(payload).map_err(|_| not_utf8())?.into())
                }
                _ => Message::Binary(Cow::Borrowed(payload)),
            };
            return Ok(Some(message));
        }
        let open = self.open.get_or_insert_default();
        let message = open.message.get_or_insert_with(|| Collected {
            text: frame.opcode == Opcode::Text,
            bytes: Vec::new(),
            checked: 0,
        });
        message.add(payload)?;
        if !whole {
            open.frame = Some(frame.after(payload.len()));
            return Ok(None);
        }
        if !frame.last {
            return Ok(None);
        }
        let message = open.message.take().map(Collected::end).transpose();
        self.release();
        message
    }

    fn message(&self) -> Option<&Collected> {
        self.open.as_ref()?.message.as_ref()
    }

    /// Frees the heap memory if no message and no frame is incomplete.
    fn release(&mut self) {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.message.is_none() && open.frame.is_none())
        {
            self.open = None;
        }
    }
}

impl Frame {
    /// The rest of the frame after `taken` bytes of payload: the mask continues where it was.
    fn after(self, taken: usize) -> Self {
        let mut mask = self.mask;
        mask.rotate_left(taken % 4);
        Self {
            mask,
            left: self.left - taken,
            ..self
        }
    }
}

impl Collected {
    fn add(&mut self, more: &[u8]) -> Result<(), Violation> {
        self.bytes.extend_from_slice(more);
        if !self.text {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            // The last character may be completed by later bytes.
            Err(why) if why.error_len().is_none() => self.checked += why.valid_up_to(),
            Err(_) => return Err(not_utf8()),
        }
        Ok(())
    }

    fn end(self) -> Result<Message<'static>, Violation> {
        if !self.text {
            return Ok(Message::Binary(self.bytes.into()));
        }
        if self.checked < self.bytes.len() {
            return Err(not_utf8());
        }
        let text = String::from_utf8(self.bytes).map_err(|_| not_utf8())?;
        Ok(Message::Text(text.into()))
    }
}

impl Opcode {
    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Whether a close frame may have this code (RFC 6455, section 7.4, and IANA's registry: 1012 to 1014).
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn control(opcode: Opcode, payload: Cow<'_, [u8]>) -> Result<Message<'_>, Violation> {
    match opcode {
        Opcode::Ping => Ok(Message::Ping(payload)),
        Opcode::Pong => Ok(Message::Pong(payload)),
        _ => close(payload),
    }
}

fn close(payload: Cow<'_, [u8]>) -> Result<Message<'_>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload.is_empty() {
            true => Ok(Message::Close {
                code: None,
                reason: "".into(),
            }),
            false => Err(protocol("a close frame has half a code")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(protocol("the close code may not be sent"));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| not_utf8())?;
    Ok(Message::Close {
        code: Some(code),
        reason: reason.to_owned().into(),
    })
}

/// Takes the first `len` bytes, or all if there are fewer.
fn take<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let all = std::mem::take(input);
    let (taken, rest) = all.split_at_mut(len.min(all.len()));
    *input = rest;
    taken
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u64::from_ne_bytes(std::array::from_fn(|n| mask[n % 4]));
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let masked = u64::from_ne_bytes(std::array::from_fn(|n| chunk[n]));
        chunk.copy_from_slice(&(masked ^ word).to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

fn protocol(reason: &'static str) -> Violation {
    violation(code::PROTOCOL, reason)
}

fn not_utf8() -> Violation {
    violation(code::NOT_UTF8, "the text is not UTF-8")
}

fn violation(code: u16, reason: &'static str) -> Violation {
    Violation { code, reason }
}

#[cfg(test)]
mod tests;

//! Events that say who sent them and prove it.
//!
//! The description travels in the event's id, so that the data may have any length, also none:
//! `PPPPPPPP.CCCCCCCCCCCC.MMMMMMMMMMMMMMMM` (publisher, counter, mark; hexadecimal). The mark is
//! xxHash64, seeded with the run's key, over `PPPPPPPP.CCCCCCCCCCCC.LENGTH.` and the data. It differs
//! from the ring's own checksum on purpose: what slips past one does not slip past the other, and a
//! writer that does not know the key cannot make an event that counts as sent. PHP computes the same
//! with `hash('xxh64', …)`.

use std::fmt::Write;

use shared::event::{Event, EventRef};
use shared::publisher::{PublishError, Publisher};
use xxhash_rust::xxh64::Xxh64;

pub const CHANNEL: &str = "proof";
const CHANNELS: &[&[u8]] = &[CHANNEL.as_bytes()];
/// The filler repeats with a prime period, so that a piece of another event's data is out of step.
const PERIOD: usize = 4093;

/// Who sent an event, and as which of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sent {
    pub publisher: u32,
    pub counter: u64,
}

/// Why an event that was read was not sent by an honest publisher, or not like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Its id does not have our form: somebody else's.
    Foreign,
    /// Ours by its form, but the mark is wrong: torn, mixed, or forged.
    Mark,
}

/// Builds and publishes events of one publisher.
pub struct Sender {
    pub publisher: u32,
    key: u64,
    id: String,
    filler: Vec<u8>,
}

impl Sender {
    /// `largest`: bytes of the longest data it will send.
    pub fn new(key: u64, publisher: u32, largest: usize) -> Self {
        let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-";
        let mut state = 1u32;
        let period: Vec<u8> = (0..PERIOD)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                letters[(state >> 26) as usize]
            })
            .collect();
        let filler = period
            .iter()
            .copied()
            .cycle()
            .take(largest + PERIOD)
            .collect();
        Self {
            publisher,
            key,
            id: String::new(),
            filler,
        }
    }

    /// Publishes event `counter` with `len` bytes of data; the position it got.
    pub fn publish(
        &mut self,
        to: &mut Publisher,
        counter: u64,
        len: usize,
    ) -> Result<u64, PublishError> {
        self.prepare(counter, len);
        to.publish(&self.event(counter, len)).map(|at| at.seq)
    }

    /// Computes the id, so that a following `event` of the same arguments costs nothing.
    pub fn prepare(&mut self, counter: u64, len: usize) {
        let sent = Sent {
            publisher: self.publisher,
            counter,
        };
        let mark = mark(self.key, sent, self.data(counter, len));
        self.id.clear();
        let _ = write!(self.id, "{:08x}.{counter:012x}.{mark:016x}", self.publisher);
    }

    /// The event that was prepared; some have a key, see `repeats`.
    pub fn keyed(&self, counter: u64, len: usize) -> EventRef<'_> {
        EventRef {
            key: repeats(counter).then_some(self.id.as_bytes()),
            ..self.event(counter, len)
        }
    }

    pub fn event(&self, counter: u64, len: usize) -> EventRef<'_> {
        EventRef {
            channels: CHANNELS,
            id: Some(self.id.as_bytes()),
            data: self.data(counter, len),
            ..EventRef::default()
        }
    }

    fn data(&self, counter: u64, len: usize) -> &[u8] {
        let from = (counter as usize * 31 + self.publisher as usize * 7919) % PERIOD;
        &self.filler[from..from + len]
    }
}

/// Whether event `counter` is published twice, with a key, as by a job that is tried again.
pub fn repeats(counter: u64) -> bool {
    counter.is_multiple_of(16)
}

fn mark(key: u64, sent: Sent, data: &[u8]) -> u64 {
    let mut hash = Xxh64::new(key);
    let intro = format!(
        "{:08x}.{:012x}.{}.",
        sent.publisher,
        sent.counter,
        data.len()
    );
    hash.update(intro.as_bytes());
    hash.update(data);
    hash.digest()
}

/// Who sent `event`; an error when it is not whole.
pub fn verify(key: u64, event: &Event) -> Result<Sent, Bad> {
    let mut channels = event.channels();
    if channels.next() != Some(CHANNEL) || channels.next().is_some() {
        return Err(Bad::Foreign);
    }
    verify_parts(key, event.id(), event.data())
}

/// The same of what a subscriber gets.
pub fn verify_parts(key: u64, id: Option<&str>, data: &[u8]) -> Result<Sent, Bad> {
    let (sent, found) = id.and_then(parse).ok_or(Bad::Foreign)?;
    if mark(key, sent, data) == found {
        Ok(sent)
    } else {
        Err(Bad::Mark)
    }
}

fn parse(id: &str) -> Option<(Sent, u64)> {
    let mut parts = id.split('.');
    let mut part = |digits: usize| {
        let text = parts.next()?;
        let hex = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u64::from_str_radix(text, 16).ok())?
    };
    let (publisher, counter, mark) = (part(8)?, part(12)?, part(16)?);
    Some((
        Sent {
            publisher: publisher as u32,
            counter,
        },
        mark,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(sender: &Sender, counter: u64, len: usize) -> Event {
        let event = sender.event(counter, len);
        let mut body = Vec::new();
        event.encode_head(&mut body);
        let head = body.len() as u16;
        body.extend_from_slice(event.data);
        Event::decode(body.into(), head, event.flags(), 0).unwrap()
    }

    #[test]
    fn a_payload_names_its_sender_and_nobody_elses_key_does() {
        let mut sender = Sender::new(7, 3, 5000);
        for len in [0, 1, 100, 5000] {
            sender.prepare(9, len);
            let event = decoded(&sender, 9, len);
            assert_eq!(
                verify(7, &event),
                Ok(Sent {
                    publisher: 3,
                    counter: 9
                })
            );
            assert_eq!(verify(8, &event), Err(Bad::Mark));
        }
    }

    #[test]
    fn data_of_another_event_under_this_id_is_noticed() {
        let mut sender = Sender::new(7, 3, 100);
        sender.prepare(9, 40);
        let mixed = decoded(&sender, 10, 40);
        assert_eq!(verify(7, &mixed), Err(Bad::Mark));
        assert_eq!(verify(7, &decoded(&sender, 9, 39)), Err(Bad::Mark));
    }
}

//! What every WebSocket session holds its client to: the rate of messages, malformed messages in a row, and
//! answers to pings. Pure: times are milliseconds of a monotonic clock.

use crate::keepalive;
use crate::keepalive::{Silence, Verdict};
use crate::rate_limit::{Bound, Rate};

/// Malformed messages in a row after which the connection is closed.
const MAX_MALFORMED: u8 = 5;

/// The reason for closing at [`Rejected::Rate`].
pub const TOO_FAST: &str = "there are more messages a second than are allowed";
/// The reason for closing at [`Verdict::Gone`].
pub const NO_PONG: &str = "no pong came in time";

/// Why a message is not handled. `E`: what the parser says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected<E> {
    /// Beyond the rate: the connection is closed.
    Rate,
    /// Malformed: an error is sent, and the connection stays open.
    Malformed(E),
    /// Malformed, as were those before it: an error is sent, and the connection is closed.
    LastMalformed(E),
}

/// The state of one connection: 24 bytes.
#[derive(Debug, Default)]
pub struct SessionGuard {
    messages: Rate,
    silence: Silence,
    malformed: u8,
    /// Whether the client has shown who it is, where its protocol lets it. Here, because here is room.
    pub authorized: bool,
}

impl SessionGuard {
    /// Counts a message received at `now` and parses it, if it is within `rate`.
    ///
    /// # Errors
    /// If the message is beyond the rate, or malformed.
    pub fn receive<T, E>(
        &mut self,
        rate: Bound,
        now: u64,
        parse: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, Rejected<E>> {
        if !self.messages.take(rate, now) {
            return Err(Rejected::Rate);
        }
        match parse() {
            Ok(message) => {
                self.malformed = 0;
                Ok(message)
            }
            Err(why) => {
                self.malformed = self.malformed.saturating_add(1);
                match self.malformed < MAX_MALFORMED {
                    true => Err(Rejected::Malformed(why)),
                    false => Err(Rejected::LastMalformed(why)),
                }
            }
        }
    }

    /// What to do about a client from which anything was last received at `last_received`.
    pub fn on_tick(&mut self, now: u64, last_received: u64, limits: &keepalive::Limits) -> Verdict {
        self.silence.judge(now, last_received, limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Bound = Bound::per_second(10);

    fn receive(guard: &mut SessionGuard, now: u64, good: bool) -> Result<(), Rejected<()>> {
        guard.receive(RATE, now, || if good { Ok(()) } else { Err(()) })
    }

    #[test]
    fn the_fifth_malformed_message_in_a_row_is_the_last() {
        let mut guard = SessionGuard::default();
        for second in 0..20 {
            let good = second % 5 == 4;
            let expected = if good {
                Ok(())
            } else {
                Err(Rejected::Malformed(()))
            };
            assert_eq!(receive(&mut guard, second * 1000, good), expected);
        }
        for second in 20..24 {
            assert_eq!(
                receive(&mut guard, second * 1000, false),
                Err(Rejected::Malformed(()))
            );
        }
        assert_eq!(
            receive(&mut guard, 24_000, false),
            Err(Rejected::LastMalformed(()))
        );
    }

    #[test]
    fn a_message_beyond_the_rate_is_not_parsed() {
        let mut guard = SessionGuard::default();
        assert!((0..10).all(|_| receive(&mut guard, 0, true).is_ok()));
        let beyond = guard.receive(RATE, 0, || -> Result<(), ()> { panic!("parsed") });
        assert_eq!(beyond, Err(Rejected::Rate));
        assert_eq!(receive(&mut guard, 1000, true), Ok(()));
    }

    #[test]
    fn a_silent_client_is_pinged_and_then_given_up() {
        let limits = keepalive::Limits {
            after: 100,
            answer: 10,
        };
        let mut guard = SessionGuard::default();
        let verdicts = [99, 100, 109, 110].map(|now| guard.on_tick(now, 0, &limits));
        assert_eq!(
            verdicts,
            [Verdict::Fine, Verdict::Ask, Verdict::Fine, Verdict::Gone]
        );
    }
}

//! Detects dead connections: a client that is silent for a while is pinged and must answer in time. Anything
//! it sends is an answer. Pure: times are milliseconds of a monotonic clock.

/// How long a client may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Milliseconds of silence after which a client is pinged, at least 1. Default: 120,000.
    pub after: u64,
    /// Milliseconds that it has to answer. Default: 30,000.
    pub answer: u64,
}

impl Default for Limits {
    /// The values of Pusher's documentation.
    fn default() -> Self {
        Self {
            after: 120_000,
            answer: 30_000,
        }
    }
}

/// What to do about a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// Send a ping.
    Ask,
    /// Close it: the ping was not answered in time.
    Gone,
}

/// The keepalive state of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silence {
    /// When the last ping was sent; 0: never.
    asked: u64,
}

impl Silence {
    /// Decides at `now`; to be called at [`Self::due`] or later. `last_received`: when anything was last received.
    pub fn judge(&mut self, now: u64, last_received: u64, limits: &Limits) -> Verdict {
        if now < self.due(last_received, limits) {
            return Verdict::Fine;
        }
        if self.awaits_answer(last_received) {
            return Verdict::Gone;
        }
        self.asked = now.max(1);
        Verdict::Ask
    }

    /// When to call [`Self::judge`] next, if nothing is received before.
    pub fn due(&self, last_received: u64, limits: &Limits) -> u64 {
        match self.awaits_answer(last_received) {
            true => self.asked.saturating_add(limits.answer),
            false => last_received.saturating_add(limits.after.max(1)),
        }
    }

    fn awaits_answer(&self, last_received: u64) -> bool {
        last_received < self.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        after: 100,
        answer: 30,
    };

    #[test]
    fn a_silent_client_is_pinged_and_then_considered_gone() {
        let mut silence = Silence::default();
        assert_eq!(silence.due(1000, &LIMITS), 1100);
        assert_eq!(silence.judge(1099, 1000, &LIMITS), Verdict::Fine);
        assert_eq!(silence.judge(1100, 1000, &LIMITS), Verdict::Ask);
        assert_eq!(silence.due(1000, &LIMITS), 1130);
        assert_eq!(silence.judge(1129, 1000, &LIMITS), Verdict::Fine);
        assert_eq!(silence.judge(1130, 1000, &LIMITS), Verdict::Gone);
    }

    #[test]
    fn anything_received_is_an_answer() {
        let mut silence = Silence::default();
        assert_eq!(silence.judge(1100, 1000, &LIMITS), Verdict::Ask);
        assert_eq!(silence.due(1110, &LIMITS), 1210);
        assert_eq!(silence.judge(1130, 1110, &LIMITS), Verdict::Fine);
        assert_eq!(silence.judge(1210, 1110, &LIMITS), Verdict::Ask);
        assert_eq!(silence.judge(5000, 1110, &LIMITS), Verdict::Gone);
    }
}

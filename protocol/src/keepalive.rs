//! Whether somebody is still there: after a while of silence a client is asked, and has a while to answer.
//! Anything that comes from it is an answer. Pure: times in milliseconds of a clock that does not go back.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Milliseconds of silence after which a client is asked, at least 1.
    pub after: u64,
    /// Milliseconds it has to answer.
    pub answer: u64,
}

impl Default for Limits {
    /// Pusher's.
    fn default() -> Self {
        Self {
            after: 120_000,
            answer: 30_000,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// To be asked now.
    Ask,
    /// Asked, and no answer came.
    Gone,
}

/// One connection's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silence {
    /// When it was last asked; 0: never.
    asked: u64,
}

impl Silence {
    /// To be called at [`Self::due`] or later. `heard`: when anything last came.
    pub fn judge(&mut self, now: u64, heard: u64, limits: &Limits) -> Verdict {
        if now < self.due(heard, limits) {
            return Verdict::Fine;
        }
        if self.owes(heard) {
            return Verdict::Gone;
        }
        self.asked = now.max(1);
        Verdict::Ask
    }

    /// When there is something to judge, if nothing is heard before.
    pub fn due(&self, heard: u64, limits: &Limits) -> u64 {
        match self.owes(heard) {
            true => self.asked.saturating_add(limits.answer),
            false => heard.saturating_add(limits.after.max(1)),
        }
    }

    fn owes(&self, heard: u64) -> bool {
        heard < self.asked
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
    fn asked_after_a_while_and_gone_after_another() {
        let mut silence = Silence::default();
        assert_eq!(silence.due(1000, &LIMITS), 1100);
        assert_eq!(silence.judge(1099, 1000, &LIMITS), Verdict::Fine);
        assert_eq!(silence.judge(1100, 1000, &LIMITS), Verdict::Ask);
        assert_eq!(silence.due(1000, &LIMITS), 1130);
        assert_eq!(silence.judge(1129, 1000, &LIMITS), Verdict::Fine);
        assert_eq!(silence.judge(1130, 1000, &LIMITS), Verdict::Gone);
    }

    #[test]
    fn whatever_comes_is_an_answer() {
        let mut silence = Silence::default();
        assert_eq!(silence.judge(1100, 1000, &LIMITS), Verdict::Ask);
        assert_eq!(silence.due(1110, &LIMITS), 1210);
        assert_eq!(silence.judge(1130, 1110, &LIMITS), Verdict::Fine);
        assert_eq!(silence.judge(1210, 1110, &LIMITS), Verdict::Ask);
        assert_eq!(silence.judge(5000, 1110, &LIMITS), Verdict::Gone);
    }
}

//! Refused requests by the status of their responses.

use crate::process::metrics::Counter;

/// Those that askrd answers with; another one counts as the last. 101: a WebSocket that is told why in a message, and then
/// closed.
const STATUSES: [&str; 18] = [
    "101", "400", "401", "403", "404", "405", "408", "409", "413", "414", "415", "421", "422",
    "426", "429", "431", "503", "other",
];

#[derive(Debug, Default)]
pub struct Statuses([Counter; STATUSES.len()]);

impl Statuses {
    pub fn count(&self, status: u16) {
        let known = STATUSES.iter().position(|of| of.parse() == Ok(status));
        self.0[known.unwrap_or(STATUSES.len() - 1)].add(1);
    }

    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        STATUSES.into_iter().zip(self.0.iter().map(Counter::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_row_and_others_share_one() {
        let statuses = Statuses::default();
        for status in [403, 403, 503, 418, 599] {
            statuses.count(status);
        }
        let some: Vec<_> = statuses.each().filter(|(_, n)| *n > 0).collect();
        assert_eq!(some, [("403", 2), ("503", 1), ("other", 2)]);
    }
}

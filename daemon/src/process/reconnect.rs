//! When clients are to reconnect after a planned restart: soon, and spread over a time in proportion to their number.

use crate::process::jitter::Jitter;

/// Milliseconds before the first: a restart takes about as long.
const PAUSE: u32 = 200;
/// Milliseconds over which few clients are spread, and any number.
const LEAST: u32 = 200;
const MOST: u32 = 30_000;

/// Clients reconnect at random within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Milliseconds.
    spread: u32,
}

impl Window {
    /// `rate`: how many clients may come in a second.
    pub fn new(clients: usize, rate: u32) -> Self {
        let wanted = (clients as u64).saturating_mul(1000) / u64::from(rate.max(1));
        let wanted = u32::try_from(wanted).unwrap_or(MOST);
        Self {
            spread: wanted.clamp(LEAST, MOST),
        }
    }

    /// Milliseconds until one of them is to reconnect.
    pub fn pick(&self, jitter: &Jitter) -> u32 {
        jitter.between(PAUSE, PAUSE + self.spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_spread_in_proportion_to_their_number_within_bounds() {
        let jitter = Jitter::new();
        for (clients, rate, last) in [
            (0, 2000, 400),
            (50, 2000, 400),
            (400, 2000, 400),
            (5000, 2000, 2700),
            (50_000, 2000, 25_200),
            (50_000, 10_000, 5200),
            (1_000_000, 2000, 30_200),
            (usize::MAX, 1, 30_200),
        ] {
            let window = Window::new(clients, rate);
            let all: Vec<u32> = (0..2000).map(|_| window.pick(&jitter)).collect();
            let (first, latest) = (all.iter().min().unwrap(), all.iter().max().unwrap());
            assert!(all.iter().all(|ms| (200..=last).contains(ms)), "{clients}");
            // Over all of it: of 2000 the outermost are near its ends.
            let near = (last - 200) / 20;
            assert!(*first <= 200 + near && *latest >= last - near, "{clients}");
        }
    }
}

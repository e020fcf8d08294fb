//! Returns memory to the system after a burst of requests, or of events that waited in many forms. The allocator
//! keeps what was freed between live allocations, and that is most of it once thousands of them have come at once
//! and gone.

#![allow(unsafe_code)]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::process::budget::Budget;
use crate::process::requests::Requests;

/// How often this is checked. A trim blocks every thread that allocates for some milliseconds.
const LOOK: Duration = Duration::from_secs(2);
/// Bytes that must have gone since the last check for a trim to be worth that: a burst, not the usual load.
const WORTH: usize = 4 << 20;

/// Checks for as long as the daemon runs.
pub async fn run(requests: Arc<Requests>, memory: Arc<Budget>) -> Infallible {
    let mut fall = Fall::default();
    loop {
        tokio::time::sleep(LOOK).await;
        // Both are asked: each counts from the last time that it was.
        let (requests, events) = (requests.gone(), fall.to(memory.used() as usize));
        if requests.max(events) >= WORTH {
            give_back();
        }
    }
}

/// How far something has fallen from the most that was seen of it.
#[derive(Debug, Default)]
struct Fall {
    most: usize,
}

impl Fall {
    /// Counts from `now` on once it was worth it.
    fn to(&mut self, now: usize) -> usize {
        self.most = self.most.max(now);
        let fallen = self.most - now;
        if fallen >= WORTH {
            self.most = now;
        }
        fallen
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: it takes no address and may be called from any thread at any time (malloc_trim(3): MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators have their own ways.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_is_counted_from_the_most_and_once() {
        let mut fall = Fall::default();
        assert_eq!(fall.to(10 * WORTH), 0);
        assert_eq!(fall.to(10 * WORTH - 1), 1, "not worth it yet");
        assert_eq!(fall.to(8 * WORTH), 2 * WORTH);
        assert_eq!(fall.to(8 * WORTH), 0, "counted already");
        assert_eq!(fall.to(0), 8 * WORTH);
    }
}

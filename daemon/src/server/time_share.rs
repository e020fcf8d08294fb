//! How a worker's time is shared between its streams and its other tasks, which are requests: those may be many, and come
//! again and again, while what streams are to be sent waits.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};

/// The most that the streams of all applications have in a row. It is what a request waits for them, while they have more
/// to do.
pub const MOST: Duration = Duration::from_millis(10);

/// Streams that have more to do have as much time as the other tasks had before.
#[derive(Debug)]
pub struct TimeShare {
    most: Duration,
    /// Since when the other tasks have their time.
    others_since: Option<Instant>,
    until: Option<Instant>,
}

impl TimeShare {
    /// `most`: what the streams may have in a row.
    pub fn new(most: Duration) -> Self {
        Self {
            most,
            others_since: None,
            until: None,
        }
    }

    /// Whether streams may go on before other tasks have their time again.
    pub fn is_left(&self) -> bool {
        self.is_left_at(Instant::now())
    }

    /// Does `work`. Whenever it waits, others have their time: only for that, if it is `busy`, and not for something to
    /// happen.
    pub async fn during<W: Future>(&mut self, busy: bool, work: W) -> W::Output {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.resume(Instant::now());
            let polled = work.as_mut().poll(context);
            if busy && polled.is_pending() {
                self.pause(Instant::now());
            }
            polled
        })
        .await
    }

    fn is_left_at(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn pause(&mut self, now: Instant) {
        self.others_since = Some(now);
    }

    fn resume(&mut self, now: Instant) {
        if let Some(since) = self.others_since.take() {
            let had = now.saturating_duration_since(since);
            self.until = Some(now + had.min(self.most));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_as_much_time_as_others_had_up_to_a_bound() {
        let mut share = TimeShare::new(Duration::from_millis(10));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        share.resume(at(0));
        assert!(!share.is_left_at(at(0)), "nobody had any");
        share.pause(at(10));
        share.resume(at(13));
        assert!(share.is_left_at(at(15)) && !share.is_left_at(at(16)));
        // Twice in a row is one time.
        share.resume(at(14));
        assert!(share.is_left_at(at(15)) && !share.is_left_at(at(16)));
        share.pause(at(20));
        share.resume(at(2020));
        assert!(share.is_left_at(at(2029)) && !share.is_left_at(at(2030)));
    }
}

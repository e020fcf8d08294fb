//! Events that could not be published, by reason.

use shared::failure_report::{Counts, Failure};

use crate::process::metrics::Counter;

#[derive(Debug, Default)]
pub struct PublishFailures([Counter; Failure::ALL.len()]);

impl PublishFailures {
    pub fn count(&self, failure: Failure) {
        self.0[failure as usize].add(1);
    }

    /// What a publisher has reported.
    pub fn add(&self, counts: &Counts) {
        for (counter, count) in self.0.iter().zip(counts) {
            counter.add(u64::from(*count));
        }
    }

    pub fn each(&self) -> impl Iterator<Item = (Failure, u64)> {
        let counts = self.0.iter().map(Counter::get);
        Failure::ALL.into_iter().zip(counts)
    }
}

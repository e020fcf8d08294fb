//! The last minute second by second and the last hour minute by minute, of a fixed number of values.

use std::collections::VecDeque;

use serde::Serialize;

/// What a sample has, in this order: what is so now, and what happened in a second.
pub const VALUES: [&str; 10] = [
    "streams", "events", "frames", "bytes", "p99_us", "lag", "gaps", "refused", "cores", "rss",
];
const SECONDS: usize = 60;
const MINUTES: usize = 60;

pub type Sample = [f64; VALUES.len()];

#[derive(Debug, Default, Serialize)]
pub struct Samples {
    minute: VecDeque<Sample>,
    hour: VecDeque<Sample>,
    /// The minute that has begun.
    #[serde(skip)]
    sum: Sample,
    #[serde(skip)]
    count: usize,
}

impl Samples {
    /// Of one second.
    pub fn push(&mut self, sample: Sample) {
        keep(&mut self.minute, SECONDS, sample);
        for (sum, value) in self.sum.iter_mut().zip(sample) {
            *sum += value;
        }
        self.count += 1;
        if self.count == SECONDS {
            let mean = self.sum.map(|sum| sum / SECONDS as f64);
            keep(&mut self.hour, MINUTES, mean);
            (self.sum, self.count) = (Sample::default(), 0);
        }
    }
}

fn keep(all: &mut VecDeque<Sample>, most: usize, sample: Sample) {
    if all.len() == most {
        all.pop_front();
    }
    all.push_back(sample);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_and_an_hour_are_kept_and_no_more() {
        let mut samples = Samples::default();
        for n in 0..90 * SECONDS {
            samples.push([n as f64; VALUES.len()]);
        }
        assert_eq!((samples.minute.len(), samples.hour.len()), (60, 60));
        assert_eq!(samples.minute[59][0], 5399.0);
        assert_eq!(samples.hour[59][3], 5369.5, "the mean of its seconds");
        assert_eq!(samples.hour[0][3], 1829.5);
    }
}

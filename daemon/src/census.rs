//! How many subscribers each channel has, over all workers: kept only where a limit asks for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub struct Census {
    /// 0: any number, and nobody counts.
    limit: u32,
    counts: Mutex<HashMap<Box<str>, u32>>,
}

impl Census {
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            counts: Mutex::default(),
        }
    }

    /// Counts one more subscriber for each of `channels`, which are distinct. False, and nothing
    /// counted, if one of them is full.
    pub fn enter(&self, channels: &[String]) -> bool {
        if self.limit == 0 {
            return true;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |name: &String| counts.get(name.as_str()).is_some_and(|n| *n >= self.limit);
        if channels.iter().any(full) {
            return false;
        }
        for name in channels {
            *counts.entry(name.as_str().into()).or_default() += 1;
        }
        true
    }

    pub fn leave<'a>(&self, channels: impl Iterator<Item = &'a str>) {
        if self.limit == 0 {
            return;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for name in channels {
            if let Some(count) = counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_channel_refuses_and_nothing_is_kept_of_it() {
        let census = Census::new(2);
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(census.enter(&names("a b")) && census.enter(&names("a")));
        assert!(!census.enter(&names("b a")));
        assert!(census.enter(&names("b")), "the refusal counted nothing");
        census.leave("a b".split(' '));
        assert!(census.enter(&names("a b")));
        census.leave("a a b b".split(' '));
        assert!(census.counts.lock().unwrap().is_empty());
        assert!(Census::new(0).enter(&names("a")));
    }
}

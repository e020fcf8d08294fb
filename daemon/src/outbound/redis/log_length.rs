//! At how many pieces the log is trimmed, so that it keeps so many entries: a piece may have many of them. Who reads the
//! whole log knows how many pieces they are. Pure.

use std::collections::VecDeque;

/// Of the entries, what is counted together.
const PARTS: u64 = 64;

/// What the newest pieces of the log hold.
#[derive(Debug)]
pub struct LogLength {
    /// The entries that are kept.
    most: u64,
    /// Pieces and their entries; the eldest first.
    blocks: VecDeque<Block>,
    all: Block,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    pieces: u64,
    entries: u64,
}

impl LogLength {
    pub fn new(most: u64) -> Self {
        Self {
            most,
            blocks: VecDeque::new(),
            all: Block::default(),
        }
    }

    /// The next piece of the log has so many entries.
    pub fn read(&mut self, entries: usize) {
        let entries = entries as u64;
        let full = |block: &Block| block.entries >= self.most.div_ceil(PARTS);
        if self.blocks.back().is_none_or(full) {
            self.blocks.push_back(Block::default());
        }
        for block in self.blocks.back_mut().into_iter().chain([&mut self.all]) {
            block.pieces += 1;
            block.entries += entries;
        }
        while let Some(first) = self.blocks.front()
            && self.all.entries - first.entries >= self.most
        {
            self.all.entries -= first.entries;
            self.all.pieces -= first.pieces;
            self.blocks.pop_front();
        }
    }

    /// How many pieces the log may have. Those that were not read yet may have one entry each.
    pub fn pieces(&self) -> u64 {
        self.all.pieces + self.most.saturating_sub(self.all.entries)
    }

    /// About how many entries a log of so many pieces has.
    pub fn entries(&self, pieces: u64) -> u64 {
        let (mut entries, mut rest) = (0, pieces);
        for block in self.blocks.iter().rev() {
            let counted = rest.min(block.pieces);
            entries += block.entries * counted / block.pieces;
            rest -= counted;
        }
        entries + rest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_log_of_single_entries_has_as_many_pieces() {
        let mut length = LogLength::new(1000);
        assert_eq!(length.pieces(), 1000);
        for _ in 0..5000 {
            length.read(1);
            assert!((1000..=1000 + 16).contains(&length.pieces()));
        }
        assert_eq!(length.entries(900), 900);
    }

    proptest! {
        /// Never so few that entries are trimmed which are to be kept, and hardly more.
        #[test]
        fn the_newest_pieces_hold_what_is_to_be_kept(
            most in 64..3000u64,
            read in prop::collection::vec(1..50usize, 0..500),
        ) {
            let mut length = LogLength::new(most);
            for (n, entries) in read.iter().enumerate() {
                length.read(*entries);
                let kept = length.pieces() as usize;
                let newest: usize = read[..=n].iter().rev().take(kept).sum();
                let all: usize = read[..=n].iter().sum();
                prop_assert!(newest as u64 >= most.min(all as u64));
                // Two blocks may be begun, each as long as its last piece makes it.
                let slack = 2 * (most.div_ceil(PARTS) + 50);
                prop_assert!(newest as u64 <= most + slack);
                prop_assert!(length.blocks.len() as u64 <= PARTS + 2);
                prop_assert_eq!(length.entries(length.all.pieces), length.all.entries);
                prop_assert_eq!(length.entries(length.all.pieces + 3), length.all.entries + 3);
            }
        }
    }
}

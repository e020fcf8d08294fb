//! A stamp: the word that decides who owns a slot or an arena cell, and what a reader may conclude.
//!
//! ```text
//!  63                                  20 19              4 3     0
//! ┌───────────────────────────────────────┬────────────────┬───────┐
//! │ lap (44)                              │ owner (16)     │ state │
//! └───────────────────────────────────────┴────────────────┴───────┘
//! ```
//!
//! No stamp value recurs on a slot: laps only grow, and within a lap a slot goes
//! BUSY → DONE, or HOLE, or PHOLE → HOLE. Equality of two loads therefore means that nothing
//! happened between them (no ABA).

/// What the owner has done with the lap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// No event at this lap; the memory may be claimed.
    Hole = 0,
    /// Claimed by `owner`, which may be storing into it at this moment: pinned.
    Busy = 1,
    /// Committed; readable until a later lap claims it.
    Done = 2,
    /// No event at this lap, yet `owner` has not acknowledged: still pinned.
    PinnedHole = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u64);

impl Stamp {
    pub const LAP_BITS: u32 = 44;
    const LAP_SHIFT: u32 = 20;
    const OWNER_SHIFT: u32 = 4;

    #[inline(always)]
    pub const fn new(lap: u64, owner: u16, state: State) -> Self {
        Self(lap << Self::LAP_SHIFT | (owner as u64) << Self::OWNER_SHIFT | state as u64)
    }

    #[inline(always)]
    pub const fn lap(self) -> u64 {
        self.0 >> Self::LAP_SHIFT
    }

    #[inline(always)]
    pub const fn owner(self) -> u16 {
        (self.0 >> Self::OWNER_SHIFT) as u16
    }

    /// Unknown state nibbles (only a hostile writer makes them) read as an unpinned hole, so that
    /// such a slot is reclaimed by the next lap instead of being stuck.
    #[inline(always)]
    pub const fn state(self) -> State {
        match self.0 & 0xf {
            1 => State::Busy,
            2 => State::Done,
            3 => State::PinnedHole,
            _ => State::Hole,
        }
    }

    /// Whether an unfinished writer may still store into this memory.
    #[inline(always)]
    pub const fn pinned(self) -> bool {
        matches!(self.state(), State::Busy | State::PinnedHole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_packing() {
        for (lap, owner, state) in [
            (1, 1, State::Busy),
            ((1 << Stamp::LAP_BITS) - 1, u16::MAX, State::PinnedHole),
            (7, 0, State::Hole),
            (9, 4095, State::Done),
        ] {
            let stamp = Stamp::new(lap, owner, state);
            assert_eq!(
                (stamp.lap(), stamp.owner(), stamp.state()),
                (lap, owner, state)
            );
        }
    }

    #[test]
    fn zeroed_memory_is_an_unpinned_hole_of_lap_zero() {
        assert_eq!(Stamp(0), Stamp::new(0, 0, State::Hole));
        assert!(!Stamp(0).pinned());
    }

    #[test]
    fn an_unknown_state_never_pins() {
        assert!((4..16).all(|state| !Stamp(state).pinned()));
    }
}

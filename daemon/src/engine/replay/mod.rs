//! Replay: a stream with a cursor reads what it missed from the channel index and the event store, at its socket's
//! pace and one bounded chunk at a time, until it has reached the live events.
//!
//! `state.rs` is where a replaying stream is, `fill.rs` makes its next chunk, `scan.rs` does so where the index has
//! forgotten. `filter.rs` is what a stream from another host has already. `turns.rs` says whose turn it is.

pub mod cache;
pub mod catch_up;
pub mod chunk;
pub mod fill;
pub mod filter;
pub mod query;
pub mod scan;
pub mod state;
pub mod turns;

//! This node among others: carries its applications' events to the other hosts, and theirs into its rings, by way of a
//! store that all share. What is to be done is decided in the crate `cluster`; here it is done.
//! Leans on `app`, `hub` and `outbound`.
//!
//! ```text
//! ring ─► relaying ─► log ─► reading ─► publishing ─► ring        nodes' states ◄─► beating
//!                                                                 Peers ◄─► talking ─► heard
//! ```

mod beating;
mod erasing;
pub mod facts;
pub mod heard;
mod keeping;
mod node;
mod publishing;
mod reading;
mod relaying;
pub mod seen;
mod settings;
mod talking;
mod thread;

pub use node::Joining;
pub use reading::PIECES;
pub use settings::Settings;
pub use thread::{Cluster, start};

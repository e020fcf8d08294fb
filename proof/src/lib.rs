//! What the drivers of the proof share: payloads that describe themselves, a ring on a small stage,
//! a debugger, memory between processes.
//!
//! The drivers are `bin/step.rs` (every instruction of a publish), `bin/torture.rs` (kills and stops
//! under load) and `bin/hostile.rs` (a writer of nonsense). They are tools for developers; nothing of
//! this is shipped.

pub mod besieged;
pub mod book;
pub mod burn;
pub mod common;
pub mod driver;
pub mod fpm;
pub mod life;
pub mod payload;
pub mod rng;
pub mod roles;
pub mod scene;
pub mod scribble;
pub mod served;
pub mod siege;
pub mod sse;
pub mod stage;
pub mod subscriber;
pub mod trace;

//! One worker's streams of one application. Single-threaded, and without a task, a buffer or a lock for each stream:
//! an idle stream is an entry in a slab and a descriptor in this worker's own epoll. Leans on `app`, `hub` and
//! `process`.
//!
//! `streams.rs` has the state, the other files what happens to it; the worker's loop calls them:
//!
//! ```text
//! request ──────► open, resume ─────────────────────────────┐
//! inbox ────────► deliveries ─► fanout ─► flush             ├─► send ─► sockets, outboxes
//!           └───► commands ─► subscribe                     │
//! epoll ────────► readiness ─► websocket/ ─► subscribe, …   │
//! turns, timers ► replaying ─► replay/;  timers ─► end  ────┘
//! ```

mod active;
mod client_events;
mod clock;
mod commands;
mod deliveries;
mod end;
pub mod fanout;
mod flush;
pub mod identity;
mod last_events;
pub mod lingering;
mod members;
mod open;
mod opening;
pub mod outbox;
mod output;
mod poller;
mod progress;
mod readiness;
mod registration;
mod relief;
pub mod replay;
mod replaying;
pub mod replays;
mod resume;
mod rewind;
mod rules;
#[cfg(test)]
pub mod seam;
mod send;
mod slow;
pub mod stream;
mod streams;
mod subscribe;
pub mod subscribers;
pub mod subscriptions;
mod timers;
mod topics;
mod traced;
pub mod transmit;
pub mod uring;
pub mod websocket;

pub use opening::{Opening, Resume, TopicOpening};
pub use rules::Rules;
pub use streams::Engine;
pub use timers::BUCKETS;
pub use topics::resume;
pub use websocket::session::WebSocketSession;

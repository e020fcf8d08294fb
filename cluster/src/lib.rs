//! Several hosts: what nodes say to each other by way of a log that all of them read, and what each makes of it.
//! Pure: values and a time in, actions out. No runtime, no sockets, no clock; `now` is milliseconds of a monotonic clock.
//!
//! ```text
//!  own ring ──► Relay ──► Entry ──►  the log  ──► Entry ──► Importer ──► own ring, as imported events and gaps
//!                 ▲                                            │
//!                 └── wants ◄── NodeState ◄── the states ◄─────┘ what is lacking
//! ```
//!
//! `fields` is the form of what later versions add. `entry` and `node_state` are what is written for others to read,
//! `nodes` says who is alive, `relay` what to append to the log, `import` what to take from it, `recovery` what of that a
//! killed process had published. `facts` is beside the log: who and what is on each node.

pub mod entry;
pub mod facts;
mod fields;
pub mod import;
pub mod node_state;
pub mod nodes;
pub mod recovery;
pub mod relay;

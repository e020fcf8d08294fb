//! The Askr ring: a lock-free, multi-producer, overwriting broadcast log in one shared segment, and
//! the events it carries. Knows neither PHP nor Tokio.
//!
//! From the bottom up: `layout` and `stamp` say what the words mean, `map`, `copy`, `futex`, `fork` and
//! `sigbus` are the only unsafe code, `ring` is the view that everything above works on; `writer` and
//! `arena` publish, `fetch` and `tail` read, `wake` connects them, `owner` and `reaper` deal with the
//! dead. `publisher` is what an application holds, `keeper` what the daemon holds. `daemon_lock` and
//! `leftovers` are the files beside the ring. `event_names` are those that a strict
//! application knows; `secret` and `grant`
//! are what both sides of a token agree on, `mercure` those of topics; `control` asks the running daemon,
//! `failure_report` tells it what could not be published.

pub mod arena;
pub mod checksum;
pub mod copy;
pub mod cursor;
pub mod event;
pub mod event_names;
pub mod features;
pub mod fetch;
pub mod fields;
mod futex;
pub mod grant;
pub mod guarded_file;
pub mod layout;
pub mod lock;
pub mod mercure;
pub mod name;
pub mod prim;
pub mod published_vector;
pub mod reaper;
pub mod ring;
pub mod rules;
pub mod secret;
pub mod stamp;
pub mod tail;
pub mod vector;
pub mod wake;
pub mod writer;

#[cfg(not(loom))]
pub mod control;
#[cfg(not(loom))]
mod create;
#[cfg(not(loom))]
pub mod daemon_lock;
#[cfg(not(loom))]
pub mod failure_report;
#[cfg(not(loom))]
mod fork;
#[cfg(not(loom))]
mod give_back;
#[cfg(not(loom))]
pub mod keeper;
#[cfg(not(loom))]
mod keeper_error;
#[cfg(not(loom))]
mod keys;
#[cfg(not(loom))]
mod leftovers;
#[cfg(not(loom))]
pub mod map;
#[cfg(not(loom))]
pub mod owner;
#[cfg(not(loom))]
pub mod publisher;
#[cfg(not(loom))]
mod reaping;
#[cfg(not(loom))]
pub mod segment;
#[cfg(not(loom))]
mod sigbus;
#[cfg(not(loom))]
pub mod spec;
#[cfg(not(loom))]
pub mod trust;

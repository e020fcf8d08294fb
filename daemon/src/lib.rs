//! askrd: tails the Askr rings and serves Server-Sent Events and WebSockets.
//!
//! ```text
//! tailer ─► channel index, routes ─► worker inboxes ─► engine (streams, subscriptions) ─► sockets
//! acceptor ─► worker: HTTP ─► engine
//! ```
//!
//! A library, so that fuzz targets and examples can take its parts; `main.rs` is the program. Each folder
//! uses only those below it in this list.
#![deny(unsafe_code)]
// They panic when nobody reads: the log and `say` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;

pub mod server;

pub mod observe;

pub mod cluster;

pub mod http;

pub mod engine;

pub mod app;

pub mod hub;

pub mod auth;

pub mod config;

pub mod outbound;

pub mod process;

#[cfg(test)]
pub mod testing;

//! The daemon as a process: start and stop, preflight, listeners and acceptor, workers, control socket, log.
//! Leans on every folder but `cli`.

pub mod acceptor;
pub mod applications;
pub mod cannot_start;
pub mod ceiling;
pub mod control;
pub mod control_bodies;
mod defer_accept;
pub mod drain;
pub mod event_memory;
pub mod failure_reports;
mod listeners;
pub mod main_thread;
mod obstacles;
pub mod open_to;
pub mod peer_credentials;
pub mod preflight;
pub mod reload;
pub mod ring_place;
pub mod serve;
mod service_manager;
pub mod setup;
mod time_share;
pub mod worker;

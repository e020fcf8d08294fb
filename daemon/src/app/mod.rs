//! One application: its parts, its limits, queries to its engines, and publishing on its behalf.
//! Leans on `hub` and `auth`.

pub mod application;
pub mod client_event_rate;
pub mod client_events;
pub mod erasures;
pub mod event_names;
pub mod forget;
pub mod history;
pub mod lacking;
pub mod peer_message;
pub mod peers;
pub mod publishing;
pub mod queries;
pub mod quota;
pub mod revocations;

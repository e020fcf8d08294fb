//! HTTP: what a request asks for, its response, and how its socket becomes a stream. Leans on `engine`, `app`,
//! `hub`, `auth`, `config` and `process`.
//!
//! ```text
//! connection (hyper over socket) ─► handler ─► request ─► path, query, cors, bearer   what is asked for
//!        │                             ├─► change, body                         another stream's channels
//!        │                             ├─► api                                  Pusher's HTTP API
//!        │                             └─► respond, refusal, notes              the response, and what is logged
//!        └─ client: what handler and connection share ─► the engine: a stream
//! ```

pub mod api;
mod bearer;
mod body;
pub mod change;
mod client;
pub mod connection;
mod cors;
mod handler;
mod notes;
pub mod path;
mod policy;
pub mod query;
pub mod refusal;
mod request;
mod respond;
mod socket;

pub use client::World;
pub use policy::Policy;

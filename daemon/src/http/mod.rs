//! HTTP: what a request asks for, its response, and how its socket becomes a stream. Leans on `engine`, `app`,
//! `hub`, `auth`, `config` and `process`.
//!
//! ```text
//! arrivals (first) ─► handler ─► request              a stream that can be opened at once: the engine has it, without hyper
//!        ▼
//! connection (hyper over socket) ─► handler ─► request ─► path, query, cors, bearer   what is asked for
//!        │                             ├─► change, client_event (proof), body   another stream's channels, what it sends
//!        │                             ├─► api                                  Pusher's HTTP API
//!        │                             ├─► mercure                              an application's Mercure hub
//!        │                             └─► respond, refusal, notes              the response, and what is logged
//!        └─ client: what handler and connection share ─► the engine: a stream
//! ```

pub mod api;
pub mod arrivals;
mod bearer;
pub mod beside;
mod body;
pub mod change;
mod client;
pub mod client_event;
mod connection;
mod cors;
mod date;
pub mod first;
mod handler;
mod mercure;
mod notes;
pub mod path;
mod policy;
mod proof;
pub mod query;
pub mod refusal;
pub mod request;
mod respond;
mod socket;
pub mod viewer;

pub use client::World;
pub use policy::Policy;

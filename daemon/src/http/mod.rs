//! HTTP: what a request asks for, what it is answered, and how its socket becomes a stream.

pub mod api;
mod bearer;
mod change;
pub mod connection;
mod cors;
mod query;
mod refusal;
mod request;
mod respond;
mod socket;

pub use request::Policy;

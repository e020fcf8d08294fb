//! HTTP: what a request asks for, what it is answered, and how its socket becomes a stream.

pub mod api;
mod bearer;
pub mod change;
pub mod connection;
mod cors;
pub mod query;
pub mod refusal;
mod request;
mod respond;
mod socket;

pub use request::Policy;

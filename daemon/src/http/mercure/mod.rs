//! A Mercure hub over HTTP: subscribing, publishing, and what is told of both.
//!
//! ```text
//! target          which part of which application's hub a path is
//! serve ─► subscribe, publish, subscriptions ─► ask   a request, and what its token grants (credentials)
//!                                            └► refused   a refusal, with what a client has to show
//! ```

mod ask;
mod credentials;
mod publish;
mod refused;
pub mod serve;
mod subscribe;
mod subscriptions;
pub mod target;

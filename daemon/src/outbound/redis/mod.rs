//! The store that an application's nodes share: a Redis or Valkey server.

pub mod address;
pub mod connection;
mod log_length;
pub mod redis_store;
pub mod store;
pub mod trouble;

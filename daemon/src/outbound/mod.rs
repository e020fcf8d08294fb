//! Requests that askrd makes itself: a small HTTP client, and webhooks, which use it. Leans on `process`.

pub mod http_client;
pub mod redis;
pub mod webhooks;

//! Requests that askrd makes itself: a small HTTP client, and webhooks by it. Leans on `process`.

pub mod http_client;
pub mod webhooks;

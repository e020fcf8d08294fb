//! What publishers and the hub of Mercure have to agree on: which text topics, ids and types may be, and which topics are
//! the hub's own.

pub mod hub_url;
pub mod text;
pub mod update;

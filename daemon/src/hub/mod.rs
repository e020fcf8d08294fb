//! What an application's tailer and the workers share: the ring's events on their way to subscribers, the routes
//! of channels, and presence. Leans on `auth`, `outbound` and `process`.

pub mod channel_index;
pub mod command;
pub mod encoded_event;
pub mod ephemeral;
pub mod erased;
pub mod erased_file;
pub mod event_store;
#[expect(clippy::module_inception, reason = "the folder is about it")]
pub mod hub;
pub mod inbox;
pub mod last_events;
pub mod presence;
pub mod presence_note;
pub mod roster;
pub mod routes;
pub mod subscriber_counts;
pub mod tailer;
pub mod watchlists;

//! What an application's tailer and the workers share: the ring's events on their way to subscribers, the routes
//! of channels, and presence. Leans on `auth`, `outbound` and `process`.

pub mod active;
pub mod active_note;
pub mod busy_channels;
pub mod channel_index;
pub mod command;
pub mod encoded_event;
pub mod ephemeral;
pub mod erased;
pub mod erased_file;
pub mod event_store;
pub mod facts;
#[expect(clippy::module_inception, reason = "the folder is about it")]
pub mod hub;
pub mod import_journal;
pub mod inbox;
pub mod last_events;
pub mod matcher_name;
pub mod notice;
pub mod origins;
pub mod presence;
#[cfg(test)]
mod presence_across;
pub mod presence_note;
pub mod roster;
pub mod routes;
pub mod sent_cursor;
pub mod subscriber_counts;
pub mod tailer;
pub mod topics;
pub mod trace;
pub mod watchlists;

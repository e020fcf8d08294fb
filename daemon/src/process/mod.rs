//! What the process has once, whatever its applications: metrics, admission of connections, heartbeats.
//! Leans on no other folder.

pub mod admission;
pub mod async_fd;
pub mod budget;
pub mod client_key;
pub mod client_rates;
pub mod control_places;
pub mod current;
pub mod drain;
pub mod exposition;
pub mod faults;
pub mod heartbeats;
pub mod histogram;
pub mod holdings;
pub mod jitter;
pub mod logging;
pub mod metrics;
pub mod own_file;
pub mod parts;
pub mod peer_groups;
pub mod publish_failures;
pub mod quarantine;
pub mod reconnect;
pub mod refusals;
pub mod requests;
pub mod scan_shares;
pub mod shares;
pub mod signals;
pub mod state;
pub mod statuses;
pub mod terminal;
pub mod trim;
pub mod worker_counters;

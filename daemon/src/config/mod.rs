//! Settings: what can be set, its unit, its default, what is allowed; one file a section.
//! Leans on `outbound` and `process`.
//!
//! Order of precedence: flags, then the environment (`ASKR_SECTION_KEY`), then the file, then the
//! defaults; `loading` does the merging.

pub mod app;
pub mod auth;
pub mod broadcast;
pub mod cluster;
pub mod flags;
pub mod loading;
pub mod log;
mod mercure;
pub mod origin;
mod ranges;
pub mod reload;
pub mod ring;
pub mod server;
pub mod settings;
pub mod units;

pub use app::{App, api_body_bytes};
pub use auth::Auth;
pub use broadcast::Broadcast;
pub use cluster::Cluster;
pub use flags::Flags;
pub use loading::{Problem, Sources, load};
pub use log::Log;
pub use mercure::Issuer;
pub use origin::{Allowed, AllowedOrigin};
pub use reload::Changes;
pub use ring::Ring;
pub use server::{DEFAULT_CONTROL, MAX_WORKERS, Server};
pub use settings::Settings;
pub use units::{Address, Io, LogFormat, Mode, Network, Size, SlowClients};

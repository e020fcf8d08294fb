//! The commands that do their work and exit.

mod audience;
mod check;
mod control_client;
mod doctor;
mod drain;
mod health;
mod history;
mod nodes;
mod publish;
mod reload;
mod stats;
mod tail;
mod trace;
mod watch;

pub use audience::{channels, disconnect, members};
pub use check::check;
pub use doctor::doctor;
pub use drain::drain;
pub use health::health;
pub use history::{forget, history};
pub use nodes::nodes;
pub use publish::publish;
pub use reload::reload;
pub use stats::stats;
pub use tail::tail;
pub use trace::trace;
pub use watch::watch;

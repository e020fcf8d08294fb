//! The commands that do their work and exit.

mod audience;
mod check;
mod control_client;
mod history;
mod publish;
mod stats;
mod tail;

pub use audience::{channels, disconnect, members};
pub use check::check;
pub use history::{forget, history};
pub use publish::publish;
pub use stats::stats;
pub use tail::tail;

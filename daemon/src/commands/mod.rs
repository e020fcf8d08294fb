//! The verbs that do their work and end.

mod check;
mod publish;
mod stats;
mod tail;

pub use check::check;
pub use publish::publish;
pub use stats::stats;
pub use tail::tail;

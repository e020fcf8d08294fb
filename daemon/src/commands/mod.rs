//! The verbs that do their work and end.

mod check;
mod publish;
mod tail;

pub use check::check;
pub use publish::publish;
pub use tail::tail;

//! What an operator sees of the running daemon: `/metrics`, and a page of its own.
//! Leans on `cluster`, `app` and those below them.

pub mod dashboard;
pub mod host;
pub mod limits;
pub mod metrics_page;
pub mod observed;
pub mod per_application;
pub mod places;
pub mod process_metrics;
pub mod scrape;
pub mod serving;
pub mod thread;

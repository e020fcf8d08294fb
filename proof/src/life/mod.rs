//! The life of a segment, from the outside: many processes, two daemons' worth of crashes, a full tmpfs,
//! namespaces, other users. Each scenario says in one line what it saw, or what was wrong.
//!
//! The driver itself never has a second thread, so that it may fork; whatever needs a `Keeper`, which has
//! one, happens in a child.

mod children;
mod crowd;
mod filled;
mod race;
mod room;
mod rotation;
mod spaces;
mod taken;

use children::Verdict;

/// A name, and what is done under it.
type Scenario = (&'static str, fn() -> Verdict);

pub const SCENARIOS: [Scenario; 9] = [
    ("creation race", race::run),
    ("rotation cut short", rotation::run),
    ("rotation cut short and undone", taken::run),
    ("full tmpfs", room::run),
    ("tmpfs that fills up", filled::run),
    ("full writer table", crowd::full_table),
    ("recycled workers", crowd::recycled),
    ("two pid namespaces", spaces::pids),
    ("another group", spaces::group),
];

//! Bytes that each bound on memory for events allows, for given settings: parts of the ceiling of askrd's own
//! memory.

use crate::config::Settings;
use crate::engine::{fanout, replay::chunk};
use crate::hub::last_events;

/// JSON escapes turn a byte of a payload into six.
const ESCAPED: u64 = 6;
/// The rest of a frame around the payload: names, id, cursor.
const AROUND: u64 = 4096;

/// Memory for events in every form, wherever they wait or are kept: `server.outbox_total`.
pub fn events(settings: &Settings) -> u64 {
    settings.server.outbox_total.0
}

/// What `workers` may use beside that in one wake, when memory for events is full: live events are still
/// encoded. Each worker has one turn at a time, and for each application the buffers that it keeps.
pub fn wakes(settings: &Settings, workers: usize) -> u64 {
    let apps = settings.applications().len() as u64;
    // A hostile publisher is bounded by the arena, not by `ring.max_payload`.
    let largest = ESCAPED * (settings.ring.arena.0 / 4) + AROUND;
    // While it is encoded, it exists twice at most, in a buffer of up to twice its size.
    let turn = fanout::ceiling(largest) + 3 * largest;
    workers as u64 * (turn + apps * (fanout::KEPT_IN_ALL + chunk::KEPT) as u64)
}

/// The last events of cache channels, of all applications.
pub fn last_events(settings: &Settings) -> u64 {
    (settings.applications().len() * last_events::MAX_BYTES) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{App, Size};

    #[test]
    fn each_bound_has_a_ceiling_that_follows_its_settings() {
        let mut settings = Settings::default();
        assert_eq!(events(&settings), 256 << 20);
        assert_eq!(last_events(&settings), 32 << 20);
        let one = wakes(&settings, 1);
        assert!(one > 2 * 6 * (4 << 20), "the largest event, joined: {one}");
        assert_eq!(wakes(&settings, 4), 4 * one);
        settings.server.outbox_total = Size(1 << 20);
        settings.ring.arena = Size(64 << 20);
        assert_eq!(events(&settings), 1 << 20);
        assert!(wakes(&settings, 1) > one + 2 * 6 * (12 << 20));
        settings.apps = vec![App::default(), App::default()];
        assert_eq!(last_events(&settings), 64 << 20);
    }
}

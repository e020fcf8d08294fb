//! Where a subscriber of topics goes on.

use protocol::mercure::id::After;
use protocol::wire_cursor::ClientCursor;
use shared::cursor::Cursor;

use crate::engine::opening::Resume;
use crate::hub::hub::Hub;

/// Where a subscriber goes on, and whether all that it lacks is held. If it is not known what it has, it gets all that is
/// held. An id that several events have means the first of them.
pub fn resume(hub: &Hub, after: After) -> (Resume, bool) {
    match after {
        After::Earliest => (Resume::Earliest, true),
        After::Cursor(ClientCursor::Cursor(cursor)) => {
            (Resume::Cursor(cursor), is_held(hub, cursor))
        }
        After::Cursor(ClientCursor::Vector(vector)) => match &hub.origins {
            Some(origins) => {
                let here = hub.watermarks.started();
                let begin = origins.begin(&vector, here, hub.segments.head().max(here));
                (Resume::Vector(vector), begin.gap.is_none())
            }
            None => (Resume::Unknown, false),
        },
        After::Id(id) => match find(hub, &id) {
            Some(cursor) => (Resume::Cursor(cursor), true),
            None => (Resume::Unknown, false),
        },
    }
}

/// Whether all that comes after a cursor is held.
fn is_held(hub: &Hub, cursor: Cursor) -> bool {
    let next = cursor.seq + 1;
    cursor.epoch == hub.segments.epoch()
        && cursor.seq < hub.segments.head()
        && hub.segments.oldest().max(hub.index.first()) <= next
}

/// The first event with a publisher's id. Across hosts a place of this one says nothing of what its client has of the
/// others.
fn find(hub: &Hub, id: &str) -> Option<Cursor> {
    if hub.origins.is_some() {
        return None;
    }
    let epoch = hub.segments.epoch();
    let is = |seq: &u64| {
        let event = hub.store.fetch(epoch, *seq);
        event.is_some_and(|event| event.id() == Some(id))
    };
    let seq = hub.topics.ids.find(id).into_iter().find(is)?;
    Some(Cursor { epoch, seq })
}

//! How many events, and how many bytes of them, wait for one endpoint: of all, and by the doing of one client.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::endpoint::Limits;
use super::event::Event;
use crate::process::client_key::ClientKey;
use crate::process::shares;
use crate::process::shares::Shares;

/// An event waiting for delivery, with the place that it occupies.
#[derive(Debug)]
pub struct QueuedEvent {
    pub event: Event,
    #[expect(dead_code, reason = "it is released when this is dropped")]
    pub place: Place,
}

/// The number of events waiting, and how many may.
#[derive(Debug)]
pub struct Room {
    limits: Limits,
    /// Events waiting.
    pub events: AtomicUsize,
    bytes: AtomicUsize,
    /// What clients have of both, so that none takes the room of all: who comes and goes without end on
    /// channels of its own making would else keep the application from hearing of others.
    events_of: Shares,
    bytes_of: Shares,
}

/// The place of one event, released when it is dropped.
#[derive(Debug)]
pub struct Place {
    room: Arc<Room>,
    client: ClientKey,
    bytes: usize,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    All,
    Client,
}

impl Room {
    pub fn new(limits: Limits) -> Self {
        let share = |pool| Shares::new(shares::by_default(pool, shares::ANY));
        Self {
            limits,
            events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            events_of: share(limits.events),
            bytes_of: share(limits.bytes),
        }
    }

    /// # Errors
    /// If there is no room; it takes none then.
    pub fn reserve(room: &Arc<Self>, client: ClientKey, bytes: usize) -> Result<Place, Full> {
        if !room.events_of.enter(client) {
            return Err(Full::Client);
        }
        if !room.bytes_of.add(client, amount(bytes)) {
            room.events_of.leave(client);
            return Err(Full::Client);
        }
        let events = room.events.fetch_add(1, Relaxed);
        let before = room.bytes.fetch_add(bytes, Relaxed);
        // Counted before it is checked; if it does not fit, dropping it releases it.
        let place = Place {
            room: room.clone(),
            client,
            bytes,
        };
        match events < room.limits.events && before + bytes <= room.limits.bytes {
            true => Ok(place),
            false => Err(Full::All),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let room = &self.room;
        room.events.fetch_sub(1, Relaxed);
        room.bytes.fetch_sub(self.bytes, Relaxed);
        room.events_of.leave(self.client);
        room.bytes_of.give_back(self.client, amount(self.bytes));
    }
}

fn amount(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::client_key::testing::client;

    #[test]
    fn a_client_has_its_share_of_both_and_gives_it_back() {
        let limits = Limits {
            events: 16,
            bytes: 800,
            ..Limits::default()
        };
        let room = Arc::new(Room::new(limits));
        let enter = |n, bytes| Room::reserve(&room, client(n), bytes);
        let held = [enter(1, 50).unwrap(), enter(1, 50).unwrap()];
        assert_eq!(enter(1, 0).err(), Some(Full::Client), "events");
        let large = enter(2, 100).unwrap();
        assert_eq!(enter(2, 1).err(), Some(Full::Client), "bytes");
        assert!(enter(3, 100).is_ok());
        assert_eq!(
            Room::reserve(&room, ClientKey::NONE, 601).err(),
            Some(Full::All)
        );
        drop((held, large));
        assert!(enter(1, 50).is_ok() && enter(2, 1).is_ok());
        assert_eq!(room.events.load(Relaxed), 0);
    }
}

//! How many events, and how many bytes of them, wait for one endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::endpoint::Limits;
use super::event::Event;

/// An event on its way, with the place that it takes up.
#[derive(Debug)]
pub struct Told {
    pub event: Event,
    #[expect(dead_code, reason = "it is given back when this is dropped")]
    pub place: Place,
}

/// How much waits, and how much may.
#[derive(Debug)]
pub struct Room {
    most: Limits,
    pub events: AtomicUsize,
    bytes: AtomicUsize,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    pub fn new(most: Limits) -> Self {
        Self {
            most,
            events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// None: there is no room.
    pub fn enter(room: &Arc<Self>, bytes: usize) -> Option<Place> {
        let events = room.events.fetch_add(1, Relaxed);
        let before = room.bytes.fetch_add(bytes, Relaxed);
        // Counted before it is looked at; dropped without being used, it is given back.
        let place = Place {
            room: room.clone(),
            bytes,
        };
        let fits = events < room.most.events && before + bytes <= room.most.bytes;
        fits.then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.events.fetch_sub(1, Relaxed);
        self.room.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

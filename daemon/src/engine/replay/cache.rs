//! Events that were read again, each encoded once although ten thousand streams may replay it.

use std::collections::HashMap;
use std::rc::Rc;

use protocol::format::Format;
use protocol::wire_cursor::WireCursor;
use shared::cursor::{Cursor, Epoch};

use crate::hub::encoded_event::EncodedEvent;
use crate::hub::hub::Hub;
use crate::hub::sent_cursor::SentCursor;
use crate::process::budget::Held;
use crate::process::quarantine;

/// Events a worker remembers, and the bytes of all of them in all their wire forms: the largest event that the
/// default settings allow fits, also in a form that escapes make six times as long.
const CACHED: usize = 1024;
pub const CACHED_BYTES: usize = 8 << 20;

/// Forms with cursors of their own, for streams that come from another host: many come with the same.
const WITH_CURSORS: usize = 1024;

/// Which form of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form {
    pub format: Format,
    /// Its number among the event's channels.
    pub channel: u16,
    /// Whether it moves the stream's cursor.
    pub moves: bool,
}

/// Direct-mapped by position. It keeps what it read while there is memory for that (`Budget::is_roomy`) and some
/// stream replays.
#[derive(Debug, Default)]
pub struct ReplayCache {
    /// Each with its size when it was last weighed.
    cache: Vec<Option<(Rc<EncodedEvent>, usize)>>,
    bytes: usize,
    /// The place to be emptied next.
    hand: usize,
    /// An event was fetched since the last `trim`.
    used: bool,
    /// The latest of each form, with the cursor that it has.
    with_cursors: HashMap<(u64, Form), (SentCursor, Held)>,
}

impl ReplayCache {
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0 && self.with_cursors.is_empty()
    }

    /// Called from time to time: without a fetch since the last call nothing is kept.
    pub fn trim(&mut self) {
        if !std::mem::take(&mut self.used) {
            self.forget();
        }
    }

    /// None: the ring no longer holds it. An event in the cache may outlive it there.
    pub fn fetch(&mut self, hub: &Hub, epoch: Epoch, seq: u64) -> Option<Rc<EncodedEvent>> {
        self.used = true;
        let place = seq as usize % CACHED;
        if let Some(Some((encoded, _))) = self.cache.get(place)
            && encoded.seq() == seq
        {
            return Some(encoded.clone());
        }
        let _in_hand = quarantine::hold(Cursor { epoch, seq });
        let event = hub.store.fetch(epoch, seq)?;
        let encoded = Rc::new(hub.encoded(Cursor { epoch, seq }, event));
        if hub.process.memory.is_roomy() {
            self.keep(&encoded);
        }
        Some(encoded)
    }

    /// A form with another cursor than everybody's: the one made last, if it is the same.
    pub fn form_with(
        &mut self,
        encoded: &EncodedEvent,
        cursor: SentCursor,
        form: Form,
        make: impl FnOnce(WireCursor<'_>) -> Vec<u8>,
    ) -> Held {
        let key = (encoded.seq(), form);
        if let Some((_, held)) = self.with_cursors.get(&key).filter(|made| made.0 == cursor) {
            return held.clone();
        }
        let budget = encoded.budget();
        let held = budget.hold(make(cursor.wire()));
        if self.with_cursors.len() >= WITH_CURSORS {
            self.with_cursors.clear();
        }
        if budget.is_roomy() && held.len() < CACHED_BYTES / WITH_CURSORS {
            self.with_cursors.insert(key, (cursor, held.clone()));
        }
        held
    }

    fn keep(&mut self, encoded: &Rc<EncodedEvent>) {
        let place = encoded.seq() as usize % CACHED;
        self.cache.resize(CACHED, None);
        self.empty(place);
        self.bytes += encoded.size();
        self.cache[place] = Some((encoded.clone(), encoded.size()));
        self.shrink();
    }

    /// Wire forms of the event at `seq` may have been made since it was last weighed.
    pub fn weigh(&mut self, seq: u64) {
        let place = seq as usize % CACHED;
        if let Some(Some((kept, size))) = self.cache.get_mut(place)
            && kept.seq() == seq
        {
            self.bytes += kept.size() - *size;
            *size = kept.size();
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        while self.bytes > CACHED_BYTES {
            self.hand = (self.hand + 1) % CACHED;
            self.empty(self.hand);
        }
    }

    fn empty(&mut self, place: usize) {
        if let Some((_, size)) = self.cache[place].take() {
            self.bytes -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::format::Format;
    use protocol::testing::{EPOCH, event};

    use super::*;
    use crate::process::budget::Budget;

    #[test]
    fn the_cache_keeps_all_wire_forms_within_its_bound_and_only_while_it_is_used() {
        let budget = Arc::new(Budget::new(1 << 30));
        let mut cache = ReplayCache::default();
        let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for seq in 0..200 {
            let event = event(&names, None, None, None, &"\x01".repeat(8000)).unwrap();
            let encoded = Rc::new(EncodedEvent::new(EPOCH, seq, event, &budget));
            cache.keep(&encoded);
            for channel in 0..20 {
                drop(encoded.form(Format::Json, channel, false));
                cache.weigh(seq);
            }
            drop(encoded);
            assert!(budget.used() <= CACHED_BYTES as u64, "{}", budget.used());
            assert_eq!(budget.used(), cache.bytes as u64);
        }
        assert!(cache.bytes > CACHED_BYTES / 2);
        cache.used = true;
        cache.trim();
        assert!(!cache.is_empty());
        cache.trim();
        assert_eq!((cache.bytes, budget.used()), (0, 0));
    }
}

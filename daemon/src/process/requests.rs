//! Requests in progress: bytes of heads and bodies that are not complete, of the whole process, with a
//! share for each client address. Any way of reading requests counts what it holds here.
//!
//! At a bound no new request is refused: the one that has been in progress longest gives way, a connection
//! between two requests before any other. A healthy request is complete within a few round trips, so it is never
//! the oldest for long, while a client that fills the bound on purpose holds the oldest ones, and would have to
//! send all of them anew, again and again, to reach a healthy one. (Refusing newcomers would let the first client
//! that fills the bound lock all others out. Taking from the largest would hit an honest upload among many small
//! attackers.) An address that reaches its share gives way to itself.
//!
//! A request that gives way is freed by its own thread, a moment later. Therefore requests begin to give way when
//! three quarters are used, and at the whole bound a newcomer is refused: the bound holds at any time. An address
//! whose requests do not end as fast as it sends new ones is refused at twice its share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use crate::process::client_key::ClientKey;
use crate::process::metrics::Metrics;

/// The part of it that one address may hold.
const SHARE: usize = 8;

#[derive(Debug)]
pub struct Requests {
    bound: AtomicUsize,
    share: AtomicUsize,
    metrics: Arc<Metrics>,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    /// Bytes that are held, and those of them whose holder has been asked to give way.
    used: usize,
    leaving: usize,
    /// The most that was held since the last call of `gone`, and what gave way.
    most: usize,
    gave_way: usize,
    /// The next ticket.
    next: u64,
    /// In the order in which they give way.
    order: BTreeMap<Key, Entry>,
    clients: HashMap<ClientKey, Client>,
}

/// When its turn to give way comes.
type Key = (Stage, u64);

#[derive(Debug, Default)]
struct Client {
    /// Without those that give way.
    bytes: usize,
    leaving: usize,
    order: BTreeSet<Key>,
}

#[derive(Debug)]
struct Entry {
    client: ClientKey,
    bytes: usize,
    gone: Arc<AtomicBool>,
    waker: Waker,
}

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Another request, perhaps.
    Idle,
    /// Its client: more of a request, or that an answer is taken.
    Client,
    /// Us. It does not give way: its request is being worked on.
    Us,
}

/// There is no room, and no request left that could give way.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Requests {
    /// `largest`: bytes of the largest request there may be; a share has room for it.
    pub fn new(bound: usize, largest: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            bound: AtomicUsize::new(bound),
            share: AtomicUsize::new((bound / SHARE).max(largest)),
            metrics,
            all: Mutex::default(),
        }
    }

    /// Bytes that may be held.
    pub fn bound(&self) -> usize {
        self.bound.load(Relaxed)
    }

    /// The bounds from now on; what is in progress beyond them gives way as ever.
    pub fn set(&self, bound: usize, largest: usize) {
        self.bound.store(bound, Relaxed);
        self.share.store((bound / SHARE).max(largest), Relaxed);
    }

    /// Bytes of memory that requests in progress need at the most, where they may hold `bound`: as much again
    /// for what was freed between others and not given back yet (`trim.rs`).
    pub const fn ceiling(bound: usize) -> u64 {
        2 * bound as u64
    }

    /// Bytes of a crowd that has gone since the last call: it held them all at once, or gave way one by one.
    pub fn gone(&self) -> usize {
        let mut all = self.all();
        let used = all.used;
        let most = std::mem::replace(&mut all.most, used);
        most - used + std::mem::take(&mut all.gave_way)
    }

    #[cfg(test)]
    fn used(&self) -> usize {
        self.all().used
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock()
    }

    /// Has the oldest requests give way until there is room for what is held now, but never `except`.
    fn make_room(&self, all: &mut All, client: ClientKey, except: Key) {
        if client != ClientKey::NONE {
            while all
                .clients
                .get(&client)
                .is_some_and(|c| c.bytes > self.share.load(Relaxed))
            {
                let first = all.clients[&client].order.first().copied();
                let Some(key) = first.filter(|key| key.0 < Stage::Us && *key != except) else {
                    break;
                };
                all.evict(key);
                self.metrics.requests_gave_way_address.add(1);
            }
        }
        while all.used - all.leaving > self.bound.load(Relaxed) / 4 * 3 {
            let mut keys = all.order.keys().copied();
            let Some(key) = keys
                .find(|key| *key != except)
                .filter(|key| key.0 < Stage::Us)
            else {
                break;
            };
            all.evict(key);
            self.metrics.requests_gave_way_total.add(1);
        }
    }
}

impl All {
    fn insert(&mut self, key: Key, entry: Entry) {
        if entry.client != ClientKey::NONE {
            let client = self.clients.entry(entry.client).or_default();
            client.bytes += entry.bytes;
            client.order.insert(key);
        }
        self.order.insert(key, entry);
    }

    fn remove(&mut self, key: Key) -> Option<Entry> {
        let entry = self.order.remove(&key)?;
        if let Some(client) = self.clients.get_mut(&entry.client) {
            client.bytes -= entry.bytes;
            client.order.remove(&key);
            self.forget_client(entry.client);
        }
        Some(entry)
    }

    fn forget_client(&mut self, client: ClientKey) {
        let gone = |client: &Client| client.order.is_empty() && client.leaving == 0;
        if self.clients.get(&client).is_some_and(gone) {
            self.clients.remove(&client);
        }
    }

    /// Its bytes count until its holder has dropped them.
    fn evict(&mut self, key: Key) {
        if let Some(entry) = self.remove(key) {
            self.leaving += entry.bytes;
            if entry.client != ClientKey::NONE {
                self.clients.entry(entry.client).or_default().leaving += entry.bytes;
            }
            self.gave_way += entry.bytes;
            entry.gone.store(true, Relaxed);
            entry.waker.wake();
        }
    }

    /// Its holder has dropped them.
    fn left(&mut self, client: ClientKey, bytes: usize) {
        self.leaving -= bytes;
        if let Some(all) = self.clients.get_mut(&client) {
            all.leaving -= bytes;
            self.forget_client(client);
        }
    }

    fn ticket(&mut self, stage: Stage) -> Key {
        self.next += 1;
        (stage, self.next)
    }
}

/// What one connection holds, given back when dropped. Costs nothing until there is something.
#[derive(Debug)]
pub struct Held {
    requests: Arc<Requests>,
    client: ClientKey,
    stage: Stage,
    key: Option<Key>,
    bytes: usize,
    gone: Arc<AtomicBool>,
}

impl Held {
    pub fn new(requests: Arc<Requests>, client: ClientKey) -> Self {
        Self {
            requests,
            client,
            stage: Stage::Client,
            key: None,
            bytes: 0,
            gone: Arc::default(),
        }
    }

    /// Whether it has to give way: all that is held is to be dropped, and this with it.
    pub fn gives_way(&self) -> bool {
        self.gone.load(Relaxed)
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// It waits for something else now. Its age begins anew where a request ends or begins.
    pub fn set_stage(&mut self, stage: Stage) {
        if self.stage == stage {
            return;
        }
        self.stage = stage;
        let Some(key) = self.key else { return };
        let mut all = self.requests.all();
        let Some(entry) = all.remove(key) else { return };
        let next = all.ticket(stage);
        all.insert(next, entry);
        self.key = Some(next);
    }

    /// It counts as this client's from now on: its proxy has named the client.
    pub fn set_client(&mut self, client: ClientKey) {
        if self.client == client {
            return;
        }
        let mut all = self.requests.all();
        match self.key.map(|key| (key, all.remove(key))) {
            // It gives way as a request of the client it had.
            Some((_, None)) => return,
            Some((key, Some(entry))) => all.insert(key, Entry { client, ..entry }),
            None => {}
        }
        drop(all);
        self.client = client;
    }

    /// It holds so many bytes now. `waker`: wakes the task that checks [`Self::gives_way`].
    ///
    /// # Errors
    /// If the bound is reached. Then it must not hold more than before.
    pub fn hold(&mut self, bytes: usize, waker: &Waker) -> Result<(), Full> {
        if bytes == self.bytes || self.gives_way() {
            return Ok(());
        }
        let requests = self.requests.clone();
        let mut all = requests.all();
        let key = self.key.unwrap_or_else(|| all.ticket(self.stage));
        let before = match self.key {
            // It was asked to give way just now.
            Some(key) if !all.order.contains_key(&key) => return Ok(()),
            Some(key) => all.remove(key).map_or(0, |entry| entry.bytes),
            None => 0,
        };
        let own = all.clients.get(&self.client);
        let own = own.map_or(0, |client| client.bytes + client.leaving);
        let fits = all.used - before + bytes <= requests.bound.load(Relaxed)
            && own + bytes <= 2 * requests.share.load(Relaxed);
        let bytes = if fits { bytes } else { before };
        all.used = all.used - before + bytes;
        all.most = all.most.max(all.used);
        requests.metrics.requests_bytes.set(all.used as u64);
        let entry = Entry {
            client: self.client,
            bytes,
            gone: self.gone.clone(),
            waker: waker.clone(),
        };
        all.insert(key, entry);
        (self.key, self.bytes) = (Some(key), bytes);
        requests.make_room(&mut all, self.client, key);
        if !fits {
            requests.metrics.over_requests.add(1);
            return Err(Full);
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut all = self.requests.all();
        if all.remove(key).is_none() {
            all.left(self.client, self.bytes);
        }
        all.used -= self.bytes;
        self.requests.metrics.requests_bytes.set(all.used as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;
    use crate::process::admission::Limits;

    fn requests(bound: usize, largest: usize) -> Arc<Requests> {
        Arc::new(Requests::new(bound, largest, Arc::default()))
    }

    fn client(n: u8) -> ClientKey {
        let address = format!("192.0.2.{n}").parse().unwrap();
        Limits::new(1, crate::process::shares::ANY, false, 1).client(Some(address))
    }

    fn hold(held: &mut Held, bytes: usize) -> Result<(), Full> {
        held.hold(bytes, Waker::noop())
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn the_eldest_gives_way_an_idle_one_before_it_and_what_we_do_never() {
        let requests = requests(400, 400);
        let mut all: Vec<Held> = (0..4)
            .map(|_| Held::new(requests.clone(), ClientKey::NONE))
            .collect();
        all[0].set_stage(Stage::Us);
        all[2].set_stage(Stage::Idle);
        let woken = Arc::new(Woken::default());
        for held in &mut all[..3] {
            held.hold(100, &Waker::from(woken.clone())).unwrap();
        }
        assert_eq!(woken.0.load(Relaxed), 0);
        let given = |all: &[Held]| all.iter().map(Held::gives_way).collect::<Vec<_>>();
        hold(&mut all[3], 50).unwrap();
        assert_eq!(given(&all), [false, false, true, false]);
        assert_eq!(woken.0.load(Relaxed), 1);
        // What it holds counts until it has dropped it.
        assert_eq!(hold(&mut all[3], 100), Ok(()));
        assert_eq!(requests.used(), 400);
        assert_eq!(hold(&mut all[3], 101), Err(Full));
        assert_eq!(requests.metrics.over_requests.get(), 1);
        drop(all.remove(2));
        assert_eq!(requests.used(), 300);
        assert_eq!(hold(&mut all[2], 101), Ok(()));
        assert_eq!(given(&all), [false, true, false]);
        assert_eq!(requests.metrics.requests_gave_way_total.get(), 2);
        drop(all);
        assert_eq!((requests.used(), requests.all().clients.len()), (0, 0));
    }

    #[test]
    fn an_address_gives_way_to_itself_at_its_share() {
        let requests = requests(8000, 500);
        let mut other = Held::new(requests.clone(), client(1));
        hold(&mut other, 900).unwrap();
        let mut all: Vec<Held> = (0..3)
            .map(|_| Held::new(requests.clone(), client(2)))
            .collect();
        for held in &mut all {
            hold(held, 500).unwrap();
        }
        assert!(all[0].gives_way() && !all[1].gives_way() && !all[2].gives_way());
        assert!(!other.gives_way());
        // It is somebody else's.
        all[1].set_client(client(1));
        let mut more = Held::new(requests.clone(), client(2));
        hold(&mut more, 500).unwrap();
        assert!(!all[1].gives_way() && !all[2].gives_way());
        assert_eq!(requests.metrics.requests_gave_way_address.get(), 1);
    }

    #[derive(Debug, Clone)]
    enum Act {
        Hold(usize, usize),
        Stage(usize, u8),
        Client(usize, u8),
        Drop(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        let one = 0..12usize;
        prop_oneof![
            6 => (one.clone(), 0..400usize).prop_map(|(n, bytes)| Act::Hold(n, bytes)),
            2 => (one.clone(), 0..3u8).prop_map(|(n, stage)| Act::Stage(n, stage)),
            1 => (one.clone(), 0..4u8).prop_map(|(n, client)| Act::Client(n, client)),
            2 => one.prop_map(Act::Drop),
        ]
    }

    proptest! {
        #[test]
        fn it_adds_up_and_never_goes_past_the_bound(acts in prop::collection::vec(act(), 1..200)) {
            let requests = requests(2000, 400);
            let key = |n: u8| if n == 0 { ClientKey::NONE } else { client(n) };
            let new = |n: usize| Held::new(requests.clone(), key(n as u8 % 4));
            let mut all: Vec<Held> = (0..12).map(new).collect();
            for act in acts {
                match act {
                    Act::Hold(n, bytes) => drop(hold(&mut all[n], bytes)),
                    Act::Stage(n, stage) => all[n].set_stage(match stage {
                        0 => Stage::Idle,
                        1 => Stage::Client,
                        _ => Stage::Us,
                    }),
                    Act::Client(n, client) => all[n].set_client(key(client)),
                    Act::Drop(n) => all[n] = new(n),
                }
                let sum: usize = all.iter().map(|held| held.bytes).sum();
                prop_assert_eq!(requests.used(), sum);
                prop_assert!(sum <= 2000);
                let leaving = all.iter().filter(|held| held.key.is_some() && held.gives_way());
                prop_assert_eq!(requests.all().leaving, leaving.map(|held| held.bytes).sum::<usize>());
            }
            drop(all);
            prop_assert_eq!(requests.used(), 0);
            prop_assert!(requests.all().clients.is_empty() && requests.all().order.is_empty());
        }
    }
}

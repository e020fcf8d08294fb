//! How many connections there may be: in all, of one client address; and which worker has the fewest.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use crossbeam_utils::CachePadded;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::process::client_key::ClientKey;
use crate::process::control_places;
use crate::process::metrics::Metrics;
use crate::process::scan_shares::ScanShares;
use crate::process::shares::Shares;

/// Connections over a limit that are still answered with a time to come back; more are closed at once.
pub const OVERFLOW: usize = 64;
/// Of one client.
const OVERFLOW_PER_ADDRESS: u32 = 8;
/// Descriptors that are not connections: ring, sockets, event queues, the log, room to accept, and the
/// control socket's connections.
const RESERVE: u64 = 64 + control_places::MOST as u64;

#[derive(Debug)]
pub struct Limits {
    max: AtomicUsize,
    loopback_counts: AtomicBool,
    /// Connections that were admitted.
    total: CachePadded<AtomicUsize>,
    /// Those of each client.
    clients: Shares,
    /// Connections that are only answered with a time to come back. They are not in `total`: a client over its own
    /// limit must not take places of others with them.
    over: AtomicUsize,
    over_clients: Shares,
    /// Connections each worker has, of both kinds.
    loads: Vec<CachePadded<AtomicUsize>>,
    /// How much looking through rings each client may cause.
    pub scans: ScanShares,
}

/// Whether a connection is within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Welcome,
    /// It is only answered with a time to come back.
    Over,
}

impl Limits {
    /// `share`: connections of one client. `loopback_counts`: whether those of this machine are counted so.
    pub fn new(max: usize, share: u32, loopback_counts: bool, workers: usize) -> Self {
        Self {
            max: AtomicUsize::new(max),
            loopback_counts: AtomicBool::new(loopback_counts),
            total: CachePadded::default(),
            clients: Shares::new(share),
            over: AtomicUsize::new(0),
            over_clients: Shares::new(OVERFLOW_PER_ADDRESS),
            loads: (0..workers).map(|_| CachePadded::default()).collect(),
            scans: ScanShares::default(),
        }
    }

    /// The limits from now on. Who is connected stays.
    pub fn set(&self, max: usize, share: u32, loopback_counts: bool) {
        self.max.store(max, Relaxed);
        self.loopback_counts.store(loopback_counts, Relaxed);
        self.clients.set(share);
    }

    /// The worker with the fewest connections.
    pub fn least_loaded(&self) -> usize {
        let loads = self.loads.iter().enumerate();
        loads
            .min_by_key(|(_, load)| load.load(Relaxed))
            .map_or(0, |(worker, _)| worker)
    }

    /// Connections there may be.
    pub fn most(&self) -> usize {
        self.max.load(Relaxed)
    }

    pub fn connections(&self) -> usize {
        self.total.load(Relaxed) + self.over.load(Relaxed)
    }

    /// The client that `address` counts as.
    pub fn client(&self, address: Option<IpAddr>) -> ClientKey {
        match address {
            Some(address)
                if self.loopback_counts.load(Relaxed) || !address.to_canonical().is_loopback() =>
            {
                ClientKey::of(address)
            }
            _ => ClientKey::NONE,
        }
    }

    /// An admitted connection has ended.
    pub fn leave(&self, worker: usize, client: ClientKey) {
        self.total.fetch_sub(1, Relaxed);
        self.loads[worker].fetch_sub(1, Relaxed);
        self.clients.leave(client);
    }

    fn enter(&self, client: ClientKey, metrics: &Metrics) -> bool {
        if self.total.fetch_add(1, Relaxed) >= self.max.load(Relaxed) {
            metrics.over_total.add(1);
        } else if !self.clients.enter(client) {
            metrics.over_address.add(1);
        } else {
            return true;
        }
        self.total.fetch_sub(1, Relaxed);
        false
    }

    fn enter_over(&self, client: ClientKey) -> bool {
        let room = self.over.fetch_add(1, Relaxed) < OVERFLOW && self.over_clients.enter(client);
        if !room {
            self.over.fetch_sub(1, Relaxed);
        }
        room
    }

    fn leave_over(&self, worker: usize, client: ClientKey) {
        self.over.fetch_sub(1, Relaxed);
        self.loads[worker].fetch_sub(1, Relaxed);
        self.over_clients.leave(client);
    }
}

/// A connection's place, given back when dropped.
pub struct Admission {
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    pub worker: usize,
    client: ClientKey,
    pub verdict: Verdict,
}

impl Admission {
    /// None: it is to be closed without an answer, because too many are being answered so already.
    pub fn new(
        limits: &Arc<Limits>,
        metrics: &Arc<Metrics>,
        worker: usize,
        address: Option<IpAddr>,
    ) -> Option<Self> {
        let client = limits.client(address);
        let verdict = match limits.enter(client, metrics) {
            true => Verdict::Welcome,
            false if limits.enter_over(client) => Verdict::Over,
            false => return None,
        };
        limits.loads[worker].fetch_add(1, Relaxed);
        Some(Self {
            limits: limits.clone(),
            metrics: metrics.clone(),
            worker,
            client,
            verdict,
        })
    }

    /// The client it counts as: that of its address, or the one that a proxy named.
    pub fn client(&self) -> ClientKey {
        self.client
    }

    /// The client that `address` counts as.
    pub fn key(&self, address: IpAddr) -> ClientKey {
        self.limits.client(Some(address))
    }

    /// A proxy named the client's address. False: that client has too many connections already.
    pub fn identify(&mut self, address: IpAddr) -> bool {
        let room = self.try_identify(address);
        self.metrics.over_address.add((!room).into());
        room
    }

    /// The same, and nothing is counted if there are too many.
    pub fn try_identify(&mut self, address: IpAddr) -> bool {
        let client = self.limits.client(Some(address));
        if client == self.client {
            return true;
        }
        if !self.limits.clients.enter(client) {
            return false;
        }
        let before = std::mem::replace(&mut self.client, client);
        self.limits.clients.leave(before);
        true
    }

    /// The same place, for a connection that ends.
    pub fn into_place(self) -> Place {
        let (limits, worker, verdict) = (self.limits.clone(), self.worker, self.verdict);
        Place {
            limits,
            worker,
            client: self.keep(),
            verdict,
        }
    }

    /// Passes the place on: its new owner gives it back with `Limits::leave`.
    pub fn keep(mut self) -> ClientKey {
        let client = self.client;
        // Only the references are dropped; `worker` tells Drop that the place was passed on.
        self.worker = usize::MAX;
        client
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        match self.verdict {
            _ if self.worker == usize::MAX => {}
            Verdict::Welcome => self.limits.leave(self.worker, self.client),
            Verdict::Over => self.limits.leave_over(self.worker, self.client),
        }
    }
}

/// A place that was passed on with [`Admission::keep`], given back when dropped.
pub struct Place {
    limits: Arc<Limits>,
    worker: usize,
    client: ClientKey,
    /// Which of the two kinds of places it is.
    verdict: Verdict,
}

impl Place {
    /// Of a connection that was welcome.
    pub fn new(limits: Arc<Limits>, worker: usize, client: ClientKey) -> Self {
        Self {
            limits,
            worker,
            client,
            verdict: Verdict::Welcome,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self.verdict {
            Verdict::Welcome => self.limits.leave(self.worker, self.client),
            Verdict::Over => self.limits.leave_over(self.worker, self.client),
        }
    }
}

/// Raises the descriptor limit to the hard limit. Returns how many connections it allows.
///
/// # Errors
/// A sentence, if `wanted` (0: whatever is possible) does not fit.
pub fn descriptors(wanted: usize, workers: usize) -> Result<usize, String> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|why| why.to_string())?;
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|why| why.to_string())?;
    let reserve = RESERVE + OVERFLOW as u64 + 8 * workers as u64;
    let room = usize::try_from(soft.saturating_sub(reserve)).unwrap_or(usize::MAX);
    match wanted {
        0 if room == 0 => Err(format!(
            "the limit of {soft} open files leaves no room for connections"
        )),
        // A process with a million descriptors has other limits first; keep counters sane.
        0 => Ok(room.min(4_000_000)),
        _ if wanted > room => Err(format!(
            "server.max_connections is {wanted}, but the limit of open files is {soft}, of which \
             {reserve} are needed for other things: raise it (LimitNOFILE= in the unit, ulimit -n in \
             a shell) or set max_connections to {room} or less"
        )),
        _ => Ok(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_address: i64) -> Limits {
        let share = crate::process::shares::of_setting(per_address, 8);
        Limits::new(10, share, per_address >= 0, 2)
    }

    fn key(limits: &Limits, address: &str) -> ClientKey {
        limits.client(Some(address.parse().unwrap()))
    }

    #[test]
    fn a_client_has_its_limit_and_gets_its_place_back() {
        let limits = Arc::new(limits(2));
        let metrics = Arc::default();
        let admit = |n| {
            let address = IpAddr::from([192, 0, 2, n]);
            Admission::new(&limits, &metrics, 0, Some(address))
        };
        let welcome = |one: &Option<Admission>| {
            let verdict = one.as_ref().map(|one| one.verdict);
            verdict == Some(Verdict::Welcome)
        };
        let (one, two) = (admit(1), admit(1));
        assert!(welcome(&one) && welcome(&two));
        let beyond: Vec<_> = (0..20).map_while(|_| admit(1)).collect();
        assert_eq!(beyond.len(), OVERFLOW_PER_ADDRESS as usize);
        assert!(beyond.iter().all(|one| one.verdict == Verdict::Over));
        assert_eq!(limits.total.load(Relaxed), 2, "they take no places");
        assert!(welcome(&admit(2)), "others are not affected");
        drop(one);
        assert!(welcome(&admit(1)));
        drop((two, beyond));
        assert_eq!(limits.connections(), 0);
        assert_eq!(limits.loads[0].load(Relaxed), 0);
    }

    #[test]
    fn an_ipv6_subscriber_is_one_client() {
        let limits = limits(1);
        assert_eq!(
            key(&limits, "2001:db8::1"),
            key(&limits, "2001:db8::ffff:2")
        );
        assert_ne!(key(&limits, "2001:db8::1"), key(&limits, "2001:db8:0:1::1"));
        assert_eq!(key(&limits, "::ffff:192.0.2.1"), key(&limits, "192.0.2.1"));
    }

    #[test]
    fn loopback_counts_only_when_a_limit_was_set() {
        assert_eq!(key(&limits(-1), "127.0.0.1"), ClientKey::NONE);
        assert_ne!(key(&limits(5), "127.0.0.1"), ClientKey::NONE);
        assert_ne!(key(&limits(-1), "192.0.2.1"), ClientKey::NONE);
        assert_eq!(
            limits(5).client(None),
            ClientKey::NONE,
            "a Unix socket's peer is a proxy"
        );
    }

    #[test]
    fn a_place_of_either_kind_is_given_back_once_however_its_connection_ends() {
        let limits = Arc::new(limits(0));
        let metrics = Arc::default();
        let admitted = || Admission::new(&limits, &metrics, 0, None).expect("room");
        let all: Vec<Admission> = (0..12).map(|_| admitted()).collect();
        let over = |one: &&Admission| one.verdict == Verdict::Over;
        assert_eq!(all.iter().filter(over).count(), 2, "10 are allowed");
        for (n, one) in all.into_iter().enumerate() {
            match n % 2 {
                0 => drop(one),
                _ => drop(one.into_place()),
            }
        }
        assert_eq!(limits.connections(), 0);
        assert_eq!(limits.total.load(Relaxed), 0);
        assert_eq!(admitted().verdict, Verdict::Welcome);
    }

    #[test]
    fn too_few_descriptors_are_told_with_the_remedy() {
        let why = descriptors(usize::MAX, 1).unwrap_err();
        assert!(
            why.contains("server.max_connections") && why.contains("LimitNOFILE"),
            "{why}"
        );
        assert!(descriptors(0, 1).unwrap() > 0);
    }
}

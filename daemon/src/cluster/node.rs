//! One application on this host, as a node among others: its state, and the loop that keeps it connected.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::import::{Import, Importer, Known, Limits};
use cluster::node_state::NodeState;
use cluster::nodes::Times;
use cluster::relay;
use cluster::relay::Relay;
use shared::cursor::Epoch;
use shared::publisher::{AttachOptions, Publisher};
use shared::vector::OriginId;
use tokio::sync::Notify;
use tokio::sync::watch;

use crate::app::application::App;
use crate::cluster::facts;
use crate::cluster::seen::Seen;
use crate::cluster::settings::Settings;
use crate::hub::import_journal::ImportJournal;
use crate::hub::origins::Origins;
use crate::hub::tailer::LentTailer;
use crate::outbound::redis::redis_store::RedisStore;
use crate::outbound::redis::store::{Keys, LogId, Store};
use crate::outbound::redis::trouble::Trouble;
use crate::process::jitter::Jitter;

/// Milliseconds until the next attempt to connect: at first, and at most.
const FIRST_PAUSE: u32 = 100;
const LONGEST_PAUSE: u32 = 5_000;
/// How long something must be lacking before it is asked for.
const PATIENCE: u64 = 1_000;
/// One piece that is relayed is at most such a part of the log.
const PARTS: u64 = 16;
/// By how much ids of a log may be out of order after a failover.
const MARGIN: Duration = Duration::from_secs(60);

/// What a loop ends with: it goes on for ever, or the store cannot be used.
pub type Ended = Result<Infallible, Trouble>;

/// An application that joins the others.
pub struct Joining {
    pub app: Arc<App>,
    pub origins: Arc<Origins>,
    pub journal: ImportJournal,
    pub tailer: LentTailer,
    /// What it is called in the store.
    pub name: String,
}

pub struct Node {
    pub app: Arc<App>,
    pub origins: Arc<Origins>,
    pub keys: Keys,
    pub settings: Rc<Settings>,
    pub seen: Arc<Seen>,
    pub began: Instant,
    pub core: RefCell<Core>,
    pub journal: RefCell<ImportJournal>,
    pub publisher: RefCell<Publisher>,
    /// Reads what was imported.
    pub tailer: LentTailer,
    /// What is to be published here, in order; and a bell for each end.
    pub pending: RefCell<VecDeque<Import>>,
    pub more_pending: Notify,
    pub less_pending: Notify,
    /// Relaying has something to do although nothing was published.
    pub wanted: Notify,
    /// Up to where each origin was published here: its start, and how far.
    pub published: RefCell<BTreeMap<[u8; 6], (u64, u64)>>,
    pub log: RefCell<LogPlace>,
    /// Raised once the node has caught up with the log.
    pub joined: watch::Sender<bool>,
    pub beat: Cell<u64>,
    /// Since when there has been something to relay, to import.
    pub behind: Cell<(Option<Instant>, Option<Instant>)>,
    /// Of each origin, when its beat changed last.
    pub beats: RefCell<HashMap<OriginId, (u64, Instant)>>,
}

/// What decides.
pub struct Core {
    pub epoch: Epoch,
    pub relay: Relay,
    pub importer: Importer,
}

/// How far the log was read, and which log.
#[derive(Default)]
pub struct LogPlace {
    pub after: LogId,
    pub mark: bytes::Bytes,
    pub replication: String,
    /// It became another log while this node was there: then, and who lived before.
    pub changed: Option<(u64, Vec<OriginId>)>,
}

impl Node {
    pub fn new(
        joining: Joining,
        settings: Rc<Settings>,
        joined: watch::Sender<bool>,
        seen: Arc<Seen>,
    ) -> Self {
        let Joining {
            app,
            origins,
            journal,
            tailer,
            name,
        } = joining;
        let began = Instant::now();
        let known: Vec<Known> = journal
            .known()
            .map(|known| Known {
                epoch: known.epoch,
                start: known.start,
                have: known.have(),
            })
            .collect();
        let published = known
            .iter()
            .map(|known| (known.epoch.0, (known.start, known.have)));
        let published = published.collect();
        let epoch = app.hub.segments.epoch();
        let core = Core {
            epoch,
            relay: Relay::new(epoch, journal.start(), journal.own(), pieces(&settings)),
            importer: importer(epoch, known, &journal, &settings, 0),
        };
        let mut publisher = Publisher::new();
        publisher.configure(AttachOptions {
            name: app.ring.clone(),
            ..AttachOptions::default()
        });
        seen.change(|view| {
            view.application.clone_from(&app.id);
            view.name.clone_from(&name);
            view.trouble = Some("there has been no connection yet".into());
        });
        Self {
            keys: Keys::of(&name),
            app,
            origins,
            settings,
            seen,
            began,
            core: RefCell::new(core),
            journal: RefCell::new(journal),
            publisher: RefCell::new(publisher),
            tailer,
            pending: RefCell::default(),
            more_pending: Notify::new(),
            less_pending: Notify::new(),
            wanted: Notify::new(),
            published: RefCell::new(published),
            log: RefCell::default(),
            joined,
            beat: Cell::new(shared::segment::now_ns()),
            behind: Cell::default(),
            beats: RefCell::default(),
        }
    }

    /// Milliseconds, for the core.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    pub fn own(&self) -> OriginId {
        self.core.borrow().epoch.into()
    }

    /// The last position that is settled in the own ring.
    pub fn completed(&self) -> u64 {
        self.app.hub.watermarks.completed().saturating_sub(1)
    }

    /// Up to where this host published nothing after what was relayed.
    pub fn through(&self, core: &Core) -> u64 {
        let (through, completed) = (core.relay.through(), self.completed());
        let next = self.origins.next_own(core.epoch, through + 1, completed);
        next.map_or(completed.max(through), |next| next - 1)
    }

    /// Hands over what is to be published.
    pub fn hand_over(&self, imports: Vec<Import>) {
        if !imports.is_empty() {
            self.pending.borrow_mut().extend(imports);
            self.more_pending.notify_one();
        }
    }

    /// For as long as the process lives.
    pub async fn run(self: Rc<Self>) -> std::io::Result<()> {
        tokio::select! {
            never = self.stay_connected() => match never {},
            never = self.show_lags() => match never {},
        }
    }

    async fn stay_connected(self: &Rc<Self>) -> Infallible {
        let jitter = Jitter::new();
        let mut pause = FIRST_PAUSE;
        let mut said = None;
        loop {
            self.adopt_ring();
            let began = Instant::now();
            let why = match self.session(&mut said).await {
                Ok(never) => match never {},
                Err(why) => why,
            };
            self.away(&why);
            if said.as_ref() != Some(&why) {
                let app = &self.app.id;
                tracing::warn!(
                    "application {app}: other hosts cannot be reached, this one goes on alone: {why}"
                );
                said = Some(why);
            }
            if began.elapsed() > self.settings.lease {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(Duration::from_millis(jitter.around(pause).into())).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    async fn session(self: &Rc<Self>, said: &mut Option<Trouble>) -> Ended {
        let own = format!("to:{}", self.own());
        let listen = [self.keys.key("all"), self.keys.key(&own)];
        let store = RedisStore::connect(
            self.settings.redis.clone(),
            self.keys.clone(),
            &listen,
            self.settings.stream_length,
        )
        .await?;
        self.claim(&store).await?;
        self.recall(&store).await?;
        self.arrive(&store);
        self.take_over(&store).await?;
        let app = &self.app.id;
        let server = format!("{} at {}", store.server().version, store.name());
        tracing::info!("application {app}: connected to the other hosts by way of Redis {server}");
        if let Some(why) = &store.server().warning {
            tracing::warn!("{why}");
        }
        *said = None;
        tokio::select! {
            ended = self.relay(&store) => ended,
            ended = self.read(&store) => ended,
            ended = self.beat(&store) => ended,
            ended = self.send(&store) => ended,
            ended = self.hear(&store) => ended,
            ended = self.keep(&store) => ended,
        }
    }

    /// Makes sure that the name is this application's.
    pub async fn claim(&self, store: &RedisStore) -> Result<(), Trouble> {
        let of_app = self.app.reloadable.get();
        let key = &of_app.credentials.key;
        let holder = store
            .lease("key", key.as_bytes(), self.settings.lease * 3)
            .await?;
        if holder == key.as_bytes() {
            return Ok(());
        }
        let name = &self.seen.view().name;
        Err(Trouble::new(format!(
            "cluster.name: another application, with another key, is called \"{name}\" in {}: this one needs a name of \
             its own",
            store.name()
        )))
    }

    /// What this node said of itself, if its journal was lost.
    async fn recall(&self, store: &RedisStore) -> Result<(), Trouble> {
        if !self.journal.borrow().is_fresh() {
            return Ok(());
        }
        let own = self.own().to_string();
        let all = store.all("nodes").await?;
        let said = all.iter().find(|(field, _)| field == own.as_bytes());
        if let Some(Ok(state)) = said.map(|(_, state)| NodeState::decode(state)) {
            let mut journal = self.journal.borrow_mut();
            journal.recall(state.start, state.last);
            let mut core = self.core.borrow_mut();
            core.relay = Relay::new(
                core.epoch,
                journal.start(),
                journal.own(),
                pieces(&self.settings),
            );
        }
        Ok(())
    }

    /// The store can be used.
    fn arrive(&self, store: &RedisStore) {
        let now = self.now();
        let mut core = self.core.borrow_mut();
        let living = core
            .importer
            .nodes()
            .living()
            .map(NodeState::origin)
            .collect();
        core.importer.store_back(now);
        drop(core);
        let mut log = self.log.borrow_mut();
        let replication = &store.server().replication;
        // Another log, perhaps; else what a new master accepted meanwhile may have ids before those that were read.
        log.after = match &log.replication == replication {
            true => log.after.back(MARGIN),
            false => LogId::START,
        };
        if !log.replication.is_empty() && &log.replication != replication {
            log.changed = Some((now, living));
        }
        log.replication.clone_from(replication);
        self.seen.counts.connections.add(1);
        self.seen.set_failed(false);
        self.seen.change(|view| {
            view.server = Some(format!("{} at {}", store.server().version, store.name()));
            view.warning.clone_from(&store.server().warning);
            view.trouble = None;
        });
        if let Some(bus) = self.app.peers.bus() {
            bus.set_connected(true);
        }
    }

    fn away(&self, why: &Trouble) {
        self.seen.set_failed(true);
        self.seen.change(|view| {
            view.server = None;
            view.nodes.clear();
            view.trouble = Some(why.to_string());
        });
        if let Some(bus) = self.app.peers.bus() {
            bus.set_connected(false);
        }
        facts::cut_off(&self.app);
        // Nobody knows who would send them.
        self.app.hub.lead(true, self.settings.lease);
    }

    /// Whether the ring is still the one that this node is named after.
    ///
    /// # Errors
    /// If it is not: then everything begins anew with the other one.
    pub fn same_ring(&self) -> Result<(), Trouble> {
        match self.origins.own() == self.own() {
            true => Ok(()),
            false => {
                let why = "the ring was replaced by one that does not continue it";
                Err(Trouble::new(why.into()))
            }
        }
    }

    /// Begins anew, if the ring was replaced by one that does not continue it: this is another node then, which has of the
    /// others what the former had.
    fn adopt_ring(&self) {
        if self.same_ring().is_ok() {
            return;
        }
        let epoch = self.app.hub.segments.epoch();
        let now = self.now();
        // What was published there before anybody here knew is relayed, too.
        let start = self.origins.start();
        self.pending.borrow_mut().clear();
        let mut journal = self.journal.borrow_mut();
        let mut published = self.published.borrow_mut();
        // The former ring is another one among them now: what viewers have of it is not theirs a second time.
        let former = self.core.borrow().epoch;
        published.insert(former.0, (journal.start(), journal.start()));
        published.remove(&epoch.0);
        let known = published.iter_mut().map(|(epoch, (start, have))| {
            let (epoch, start) = (Epoch(*epoch), *start);
            let reached = self.origins.reached(epoch.into());
            let reached = reached.unwrap_or((*have, *have));
            *have = reached.1.max(start);
            (epoch, start, reached)
        });
        let known: Vec<_> = known.collect();
        journal.restart(epoch, start, known.iter().copied());
        let import = self.origins.import();
        let known = known.into_iter().map(|(epoch, start, (_, have))| {
            let _ = import.meet(epoch.into(), start, have);
            Known { epoch, start, have }
        });
        let known: Vec<Known> = known.collect();
        drop(import);
        let mut importer = importer(epoch, known, &journal, &self.settings, now);
        importer.end_of_log(now, &mut Vec::new());
        *self.core.borrow_mut() = Core {
            epoch,
            relay: Relay::new(epoch, start, start, pieces(&self.settings)),
            importer,
        };
        *self.log.borrow_mut() = LogPlace::default();
    }
}

fn importer(
    epoch: Epoch,
    known: Vec<Known>,
    journal: &ImportJournal,
    settings: &Settings,
    now: u64,
) -> Importer {
    let mut importer = Importer::new(epoch, known, times(settings), limits(settings), now);
    if let Some(former) = journal.former() {
        importer.had_ring(former);
    }
    importer
}

fn times(settings: &Settings) -> Times {
    Times {
        lease: settings.lease.as_millis() as u64,
        grace: settings.grace.as_millis() as u64,
        patience: PATIENCE,
    }
}

fn pieces(settings: &Settings) -> relay::Limits {
    let most = relay::Limits::default().piece;
    relay::Limits {
        piece: most.min((settings.stream_length / PARTS) as usize),
        patience: PATIENCE,
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        held_of_one: settings.held_back / 2,
        held: settings.held_back,
    }
}

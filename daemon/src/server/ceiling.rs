//! The ceiling of askrd's own memory for its settings: each part that something bounds, what the bound is
//! called, and how many bytes it comes to at the very most. Summed up here and nowhere else; `askrd check`
//! prints it, and `make siege` holds the daemon under it.
//!
//! A part counts what is really held: derived forms, tables that have just doubled, names as long as they may
//! be. The constants are measured (`make bench-memory`, docs/MEMORY.md), not guessed. New code that holds
//! something adds its part here.

use std::thread;

use protocol::mercure::ORDINARY_PATTERN;
use shared::keeper::keys_ceiling;

use crate::app::peers;
use crate::auth::{http_call, revoked, rotation};
use crate::cluster;
use crate::config::{App, MAX_WORKERS, Settings};
use crate::engine::lingering::Lingering;
use crate::engine::replays;
use crate::hub::active;
use crate::hub::active_note;
use crate::hub::busy_channels;
use crate::hub::channel_index::marks_ceiling;
use crate::hub::erased;
use crate::hub::import_journal;
use crate::hub::presence_note;
use crate::hub::topics::ids;
use crate::hub::trace;
use crate::observe::dashboard::{asked, watching};
use crate::observe::{metrics_page, serving};
use crate::outbound::webhooks;
use crate::process::admission::Place;
use crate::process::requests::Requests;
use crate::process::{admission, control_places, holdings, scan_shares, shares};
use crate::server::event_memory;

/// The idle process: binary, runtime, allocator; and each worker with its runtime, io_uring and buffers.
const PROCESS: u64 = 1 << 20;
const WORKER: u64 = 1 << 20;
/// A WebSocket on one channel, of a user with as long a name as is allowed by default: the most expensive connection
/// after its request. And each further channel of it.
const STREAM: u64 = 1536;
const SUBSCRIPTION: u64 = 24;
/// The rate of a stream's client events, in a table that has just doubled.
const SENDER: u64 = 40;
/// Where a channel joins a replay, and the last event that it is owed: in a table and a list that have just
/// doubled.
const REPLAYED: u64 = 72;
/// A channel with a subscriber, its name as long as is allowed: once, and once for each worker that has one.
const CHANNEL: u64 = 256;
const CHANNEL_OF_WORKER: u64 = 384;
/// A position of the index, and a channel in it.
const POSITION: u64 = 48;
const INDEXED_CHANNEL: u64 = 640;
/// A pattern of a Mercure hub at the most: its text, its compiled form, its names and places in tables. And what a subscriber
/// takes for each of its matchers beside their texts: two names, its place as an active subscription.
const PATTERN: u64 = 4096 + ORDINARY_PATTERN as u64 + 1024;
const MATCHER: u64 = 640;
/// Times the bytes of a request's head: the texts of its matchers, its token's topics (once as a set, once as the key
/// of all who have the same) and payload.
const HEADS: u64 = 4;
/// A member on a channel of its own, and what the application granted a user, beside name and info; a user whose
/// tokens were revoked; a question to the application, beside the longest answer to it.
const MEMBER: u64 = 1152;
/// A line of the list of members at a planned stop: in the text, and as two strings.
const LISTED: u64 = 384;
const GRANT: u64 = 896;
const REVOCATION: u64 = 384;
const QUESTION: u64 = 64 << 10;
/// A token that waits until the secrets have been read again, beside the message that it came with.
const WAITING_TOKEN: u64 = 4 << 10;
/// The token of a WebSocket's request, and what is kept of the request beside it.
const KEPT_TOKEN: u64 = WAITING_TOKEN + 512;
/// What an event for a webhook costs beside its bytes, and an item of a worker's inbox.
const HOOK: u64 = 512;
const ITEM: u64 = 64;
/// Where an event of a host lies in the ring: in a list that has just doubled.
const PLACE: u64 = 48;
/// A response of the control socket. Lists of channels and members, which only users who may publish get, are as
/// long as there are channels and members, and are not counted here.
const CONTROL_ANSWER: u64 = 64 << 10;
/// Pools that each client has a share of: connections, refused ones, subscribers, calls, client events, webhooks, pages of
/// history.
const POOLS: u64 = 7;
/// The allocator's overhead: one part in so many of what is held.
const SLACK: u64 = 8;

/// One thing that is bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub name: &'static str,
    /// The settings that it depends on.
    pub bound: &'static str,
    pub bytes: u64,
    /// Whether it may stay allocated when no client is connected any more.
    pub kept: bool,
}

/// What the settings come to.
#[derive(Debug)]
pub struct Ceiling {
    pub parts: Vec<Part>,
}

impl Ceiling {
    /// On this machine: as many connections as the limit of open files allows here, workers as there are cores.
    pub fn new(settings: &Settings) -> Self {
        let workers = match settings.server.workers {
            0 => thread::available_parallelism().map_or(1, |n| n.get().min(MAX_WORKERS)),
            n => n,
        };
        let wanted = settings.server.max_connections;
        // What does not fit here may where the daemon will run.
        let connections = admission::descriptors(wanted, workers).unwrap_or(wanted);
        Self::of(
            settings,
            (connections + admission::OVERFLOW) as u64,
            workers as u64,
        )
    }

    fn of(settings: &Settings, connections: u64, workers: u64) -> Self {
        let apps = settings.applications();
        let size = Sizes {
            settings,
            apps: apps.into_iter().map(|(app, ..)| app).collect(),
            connections,
            workers,
        };
        let mut parts = size.parts();
        for kept in [true, false] {
            let alike = parts.iter().filter(|part| part.kept == kept);
            let bytes = alike.map(|part| part.bytes).sum::<u64>() / SLACK;
            let name = if kept {
                "allocator"
            } else {
                "allocator, of the rest"
            };
            parts.push(Part {
                name,
                bound: "",
                bytes,
                kept,
            });
        }
        Self { parts }
    }

    pub fn total(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Bytes that may stay allocated when no client is connected any more.
    pub fn kept(&self) -> u64 {
        let kept = self.parts.iter().filter(|part| part.kept);
        kept.map(|part| part.bytes).sum()
    }
}

/// The numbers that the parts are computed from.
struct Sizes<'a> {
    settings: &'a Settings,
    apps: Vec<App>,
    connections: u64,
    workers: u64,
}

impl Sizes<'_> {
    fn parts(&self) -> Vec<Part> {
        let kept = |name, bound, bytes| Part {
            name,
            bound,
            bytes,
            kept: true,
        };
        let given_back = |name, bound, bytes| Part {
            name,
            bound,
            bytes,
            kept: false,
        };
        vec![
            kept("process", "server.workers", self.process()),
            kept(
                "index",
                "broadcast.index_entries, index_channels",
                self.index(),
            ),
            kept("keys of events", "ring.slots", self.keys()),
            kept("ids of updates", "ring.slots", self.update_ids()),
            kept("last events and turns", "ring.arena", self.events()),
            kept("inboxes", "broadcast.queue, queue_bytes", self.inboxes()),
            kept(
                "grants and revocations",
                "app.auth_cache",
                self.remembered(),
            ),
            given_back(
                "connections",
                "server.max_connections, channels_per_socket",
                self.streams(),
            ),
            given_back(
                "requests in progress",
                "server.requests_total",
                self.requests(),
            ),
            given_back("channels", "app.max_channels", self.channels()),
            kept(
                "patterns",
                "app.mercure_patterns, mercure_grants",
                self.patterns(),
            ),
            given_back("slow clients", "server.outbox_total", self.outboxes()),
            given_back("members", "app.members", self.members()),
            given_back("webhooks", "app.webhook_url", self.webhooks()),
            given_back("questions", "app.auth_calls", self.questions()),
            given_back("new tokens", "auth.secret_file", self.new_tokens()),
            kept("other hosts", "cluster.held_back", self.other_hosts()),
            given_back(
                "control socket",
                "server.control",
                control_places::ceiling(CONTROL_ANSWER),
            ),
            given_back(
                "operators",
                "server.dashboard, server.metrics",
                self.operators(),
            ),
            given_back(
                "shares",
                "server.max_connections, channels_per_socket",
                self.shares(),
            ),
        ]
    }

    /// Where events of other hosts lie in the rings, what was read of the log, what waits, and what is said.
    fn other_hosts(&self) -> u64 {
        if self.settings.cluster.address().is_none() {
            return 0;
        }
        let slots = self.settings.ring.slots;
        // Once as it was received, once as values.
        let piece = self
            .largest_event()
            .max(::cluster::relay::PIECE_BYTES as u64);
        let read = 2 * cluster::PIECES as u64 * piece;
        let held = self.settings.cluster.held_back.0;
        let one = 2 * slots * PLACE + import_journal::ceiling(slots) + read + held + peers::CEILING;
        self.apps.len() as u64 * one
    }

    fn largest_event(&self) -> u64 {
        let ring = &self.settings.ring;
        let payload = match ring.max_payload.0 {
            0 => ring.arena.0 / 16,
            bytes => bytes,
        };
        payload + shared::event::MAX_HEAD as u64
    }

    fn of_apps(&self, of: impl Fn(&App) -> u64) -> u64 {
        self.apps.iter().map(of).sum()
    }

    /// Traces, and what the listeners for operators hold: sketches of busy channels, pictures, answers.
    fn operators(&self) -> u64 {
        let server = &self.settings.server;
        let apps = self.apps.len() as u64;
        let metrics = match server.metrics.is_empty() {
            true => 0,
            false => serving::ceiling(metrics_page::ceiling(apps)),
        };
        let dashboard = match server.dashboard.is_empty() {
            true => 0,
            false => {
                let answers = asked::ceiling(self.largest_event());
                let sketches = apps * busy_channels::CEILING;
                serving::ceiling(0) + watching::ceiling(apps) + answers + sketches
            }
        };
        apps * trace::CEILING + metrics + dashboard
    }

    fn process(&self) -> u64 {
        PROCESS + self.workers * WORKER
    }

    fn index(&self) -> u64 {
        let broadcast = &self.settings.broadcast;
        let entries = match broadcast.index_entries {
            0 => 4 * self.settings.ring.slots,
            n => n as u64,
        };
        let one = entries * POSITION
            + broadcast.index_channels as u64 * INDEXED_CHANNEL
            + marks_ceiling(self.settings.ring.slots);
        let erased = match self.settings.cluster.address() {
            Some(_) => erased::CEILING_ACROSS,
            None => erased::CEILING,
        };
        self.apps.len() as u64 * (one + erased) + scan_shares::CEILING
    }

    fn keys(&self) -> u64 {
        self.apps.len() as u64 * keys_ceiling(self.settings.ring.slots)
    }

    fn update_ids(&self) -> u64 {
        self.apps.len() as u64 * ids::ceiling(self.settings.ring.slots)
    }

    /// The last events of cache channels, and what each worker uses while it deals with one wake.
    fn events(&self) -> u64 {
        event_memory::last_events(self.settings)
            + event_memory::wakes(self.settings, self.workers as usize)
    }

    fn inboxes(&self) -> u64 {
        let broadcast = &self.settings.broadcast;
        let one = broadcast.queue as u64 * ITEM + broadcast.queue_bytes.0;
        self.apps.len() as u64 * self.workers * one
    }

    fn remembered(&self) -> u64 {
        let remembered = http_call::Limits::default().remembered as u64;
        self.of_apps(|app| {
            let grants = match app.asks("http") && !app.auth_url.is_empty() && app.auth_cache > 0 {
                true => remembered * (GRANT + user(app)),
                false => 0,
            };
            let revocations = match app.asks("token") {
                true => revoked::DEFAULT_USERS as u64 * REVOCATION,
                false => 0,
            };
            grants + revocations
        })
    }

    /// Every connection is of the most expensive kind: a WebSocket in the middle of a long message, live or
    /// ending.
    fn streams(&self) -> u64 {
        let server = &self.settings.server;
        let channels = server.channels_per_stream.max(server.channels_per_socket) as u64;
        let message = |app: &App| app.message_bytes() as u64;
        let held = |app: &App| message(app) + self.claim(app);
        let subscriber = |app: &App| self.subscriber(app);
        let most = self.apps.iter().map(|app| held(app).max(subscriber(app)));
        let most = most.max().unwrap_or(0);
        let name = self.apps.iter().map(|app| app.user_id_bytes as u64).max();
        let stream = STREAM + SENDER + replays::TURNS + name.unwrap_or(0);
        let stream = stream + channels * (SUBSCRIPTION + REPLAYED) + most;
        let ending = Lingering::<Place>::ceiling(1, most as usize);
        self.connections * stream.max(ending)
    }

    /// Of a subscriber of a Mercure hub, what it asks for and was granted, without patterns.
    fn subscriber(&self, app: &App) -> u64 {
        match app.mercure() {
            Some(_) => {
                HEADS * self.settings.server.header_bytes.0 + app.mercure_matchers as u64 * MATCHER
            }
            None => 0,
        }
    }

    /// Patterns that are subscribed to and granted, and subscribers that are gone.
    fn patterns(&self) -> u64 {
        self.of_apps(|app| match app.mercure() {
            Some(_) => {
                let gone = active::CEILING + active_note::CEILING;
                app.mercure_patterns as u64 * PATTERN + app.mercure_grants.0 + gone
            }
            None => 0,
        })
    }

    /// Heads and bodies that are still being read, responses that have not been written yet.
    fn requests(&self) -> u64 {
        Requests::ceiling(self.settings.requests_total())
    }

    fn channels(&self) -> u64 {
        let one = CHANNEL + self.workers * CHANNEL_OF_WORKER;
        // No connection has more than it may; the settings may allow more than all of them can ask for.
        let server = &self.settings.server;
        let each = server.channels_per_stream.max(server.channels_per_socket) as u64;
        let most = self.of_apps(|app| app.max_channels as u64);
        most.min(self.connections.saturating_mul(each)) * one
    }

    /// Every form of an event, wherever it waits, and the lists that it waits in.
    fn outboxes(&self) -> u64 {
        event_memory::events(self.settings)
    }

    /// What each client has of each pool, if every connection is another client's.
    fn shares(&self) -> u64 {
        let server = &self.settings.server;
        let each = server.channels_per_stream.max(server.channels_per_socket) as u64;
        let subscriptions = self.connections.saturating_mul(each);
        let channels = self.of_apps(|app| app.max_channels as u64);
        POOLS * shares::ceiling(self.connections) + holdings::ceiling(channels.min(subscriptions))
    }

    fn members(&self) -> u64 {
        // And the list of those of before, while it is read or written.
        let list = |app: &App| app.members.min(presence_note::MOST) as u64 * LISTED;
        self.of_apps(|app| app.members as u64 * (MEMBER + user(app)) + list(app))
    }

    fn webhooks(&self) -> u64 {
        let limits = webhooks::Limits::default();
        self.of_apps(|app| match app.webhook_url.is_empty() {
            true => 0,
            false => limits.bytes as u64 + limits.events as u64 * HOOK,
        })
    }

    /// Those of WebSockets, of which one connection may have many that wait; those of requests count as requests.
    fn new_tokens(&self) -> u64 {
        let in_file = !self.settings.auth.secret_file.is_empty();
        self.of_apps(|app| {
            if !app.asks("token") || !in_file && app.secret_file.is_empty() {
                return 0;
            }
            let each = WAITING_TOKEN + app.message_bytes() as u64 + self.claim(app);
            let waiting = rotation::WAITING as u64;
            waiting * each + shares::ceiling(waiting)
        })
    }

    /// A WebSocket's credentials, for later channels: what the application is asked with, and a token.
    fn claim(&self, app: &App) -> u64 {
        let headers = match app.auth_url.is_empty() {
            true => 0,
            false => self.settings.server.header_bytes.0,
        };
        match app.asks("token") {
            true => headers.max(KEPT_TOKEN),
            false => headers,
        }
    }

    fn questions(&self) -> u64 {
        self.of_apps(|app| match app.auth_url.is_empty() {
            true => 0,
            false => {
                let answer = http_call::Limits::answer(app.users()) as u64;
                app.auth_calls as u64 * (QUESTION + answer)
            }
        })
    }
}

/// A user's name and info, as long as they are allowed to be.
fn user(app: &App) -> u64 {
    app.user_id_bytes as u64 + app.user_info_bytes.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Size;

    fn of(settings: &Settings) -> Ceiling {
        Ceiling::of(settings, 1000, 2)
    }

    fn bytes(ceiling: &Ceiling, name: &str) -> u64 {
        let part = ceiling.parts.iter().find(|part| part.name == name);
        part.expect("there is such a part").bytes
    }

    #[test]
    fn the_total_is_the_sum_of_the_parts_and_the_allocators_share() {
        let ceiling = of(&Settings::default());
        let parts: u64 = ceiling.parts.iter().map(|part| part.bytes).sum();
        assert_eq!(ceiling.total(), parts);
        assert!(0 < ceiling.kept() && ceiling.kept() < ceiling.total());
        let shared = |part: &&Part| part.name.starts_with("allocator");
        let slack: u64 = ceiling
            .parts
            .iter()
            .filter(shared)
            .map(|part| part.bytes)
            .sum();
        assert_eq!(slack, (parts - slack) / SLACK, "{ceiling:?}");
    }

    #[test]
    fn every_bound_raises_its_part() {
        type Change = fn(&mut Settings);
        let changes: [(&str, Change); 22] = [
            ("operators", |all| all.server.metrics = "127.0.0.1:9".into()),
            ("operators", |all| all.server.dashboard = "unix:/d".into()),
            ("other hosts", |all| {
                all.cluster.url = "redis://127.0.0.1".into()
            }),
            ("index", |all| all.ring.slots *= 2),
            ("keys of events", |all| all.ring.slots *= 2),
            ("ids of updates", |all| all.ring.slots *= 2),
            ("index", |all| all.broadcast.index_entries = 1 << 24),
            ("index", |all| all.broadcast.index_channels *= 2),
            ("last events and turns", |all| {
                all.ring.arena = Size(1 << 30)
            }),
            ("inboxes", |all| all.broadcast.queue *= 2),
            ("connections", |all| all.server.channels_per_socket *= 2),
            ("connections", |all| {
                all.app.client_event_bytes = Size(1 << 20)
            }),
            ("slow clients", |all| {
                all.server.outbox_total = Size(1 << 30)
            }),
            ("members", |all| all.app.members *= 2),
            ("members", |all| all.app.user_id_bytes = 184),
            ("members", |all| all.app.user_info_bytes = Size(8 << 10)),
            ("connections", |all| all.app.user_id_bytes = 184),
            ("connections", |all| {
                all.app.user_info_bytes = Size(16 << 10)
            }),
            ("webhooks", |all| {
                all.app.webhook_url = "http://127.0.0.1:1/".into()
            }),
            ("questions", |all| {
                all.app.auth_url = "http://127.0.0.1:1/".into()
            }),
            ("new tokens", |all| {
                all.auth.secret_file = "/etc/askr/secret".into()
            }),
            ("grants and revocations", |all| {
                all.app.auth_url = "http://127.0.0.1:1/".into()
            }),
        ];
        let hub = |all: &mut Settings| all.app.mercure_url = "https://x/hub".into();
        for change in [
            |all: &mut Settings| all.app.mercure_patterns *= 2,
            |all: &mut Settings| all.app.mercure_grants = Size(1 << 30),
        ] {
            let mut settings = Settings::default();
            assert_eq!(
                bytes(&of(&settings), "patterns"),
                0,
                "without a hub there are none"
            );
            hub(&mut settings);
            let before = of(&settings);
            change(&mut settings);
            assert!(bytes(&of(&settings), "patterns") > bytes(&before, "patterns"));
        }
        let mut settings = Settings::default();
        hub(&mut settings);
        settings.server.header_bytes = Size(64 << 10);
        assert!(bytes(&of(&settings), "connections") >= 1000 * 4 * (64 << 10));
        let before = of(&Settings::default());
        for (n, (name, change)) in changes.iter().enumerate() {
            let mut settings = Settings::default();
            change(&mut settings);
            let after = of(&settings);
            assert!(bytes(&after, name) > bytes(&before, name), "{n}: {name}");
        }
        // What is remembered of each event of the ring does not depend on what the index has room for.
        let small = |slots: u64| {
            let mut settings = Settings::default();
            (settings.broadcast.index_entries, settings.ring.slots) = (1, slots);
            bytes(&of(&settings), "index")
        };
        assert!(small(1 << 26) - small(1 << 25) >= 32 << 25);
        let more = Ceiling::of(&Settings::default(), 2000, 4);
        for name in ["process", "connections", "channels", "inboxes"] {
            assert!(bytes(&more, name) > bytes(&before, name), "{name}");
        }
    }

    #[test]
    fn each_application_has_its_own_of_what_it_does_not_share() {
        let one = of(&Settings::default());
        let named = |id: &str| App {
            id: id.into(),
            ring: format!("/{id}"),
            ..App::default()
        };
        let two = of(&Settings {
            apps: vec![named("a"), named("b")],
            ..Settings::default()
        });
        for name in ["index", "inboxes", "members"] {
            let once = if name == "index" {
                scan_shares::CEILING
            } else {
                0
            };
            assert_eq!(bytes(&two, name), 2 * bytes(&one, name) - once, "{name}");
        }
        for name in ["process", "connections", "slow clients"] {
            assert_eq!(bytes(&two, name), bytes(&one, name), "{name}");
        }
    }
}

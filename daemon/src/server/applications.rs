//! Opens the applications of the settings: each with its ring, whose history is read.

use std::sync::Arc;
use std::time::Duration;

use cluster::facts::others;
use cluster::recovery::{self, recover};
use nix::unistd::geteuid;
use protocol::mercure::hub_url::HubUrl;
use protocol::pusher::api;
use protocol::pusher::signature::Credentials;
use protocol::rate_limit::Bound;
use protocol::socket_id::Prover;
use shared::cursor::{Cursor, Epoch};
use shared::keeper::Keeper;
use shared::name::RingName;
use shared::publisher::{AttachOptions, Publisher};
use shared::secret::Secret;
use shared::segment::now_ns;

use crate::app::application::{App, ChangeLimits, Mercure, Reloadable};
use crate::app::client_event_rate::ClientEventRate;
use crate::app::event_names::EventNames;
use crate::app::peers::Peers;
use crate::app::publishing::Publishing;
use crate::app::quota::Quota;
use crate::auth::authority::{Authority, Authorizers};
use crate::auth::http_call::{self, HttpCall};
use crate::auth::mercure::tokens::HubTokens;
use crate::auth::signatures::Signatures;
use crate::auth::tokens::Tokens;
use crate::cluster::Joining;
use crate::config;
use crate::config::Settings;
use crate::hub::active;
use crate::hub::active::Active;
use crate::hub::active_note;
use crate::hub::active_note::Journal;
use crate::hub::channel_index::ChannelIndex;
use crate::hub::event_store::{Place, RingStore};
use crate::hub::facts::Facts;
use crate::hub::hub::Hub;
use crate::hub::import_journal::{self, ImportJournal, Record};
use crate::hub::inbox::{Inbox, Watermarks};
use crate::hub::last_events::LastEvents;
use crate::hub::origins::Origins;
use crate::hub::presence::Before;
use crate::hub::presence_note;
use crate::hub::presence_note::Note;
use crate::hub::roster::Roster;
use crate::hub::routes::Routes;
use crate::hub::subscriber_counts::SubscriberCounts;
use crate::hub::tailer::{LentTailer, Tailer};
use crate::hub::topics;
use crate::hub::topics::Topics;
use crate::hub::watchlists::Watchlists;
use crate::hub::{channel_index, erased_file, inbox, presence};
use crate::outbound::webhooks;
use crate::outbound::webhooks::Webhooks;
use crate::process::admission::Limits;
use crate::process::client_rates::ClientRates;
use crate::process::current::Current;
use crate::process::heartbeats::Heartbeats;
use crate::process::holdings::Holdings;
use crate::process::signals::Stops;
use crate::process::state::{Process, Sizes};
use crate::process::worker_counters::Workers;
use crate::process::{quarantine, shares};
use crate::server::cannot_start::CannotStart;
use crate::server::preflight::Prepared;
use crate::server::ring_place;

/// How long snapshots of members wait for those of the other hosts.
const OTHERS: Duration = Duration::from_secs(5);

/// Reconnection times (`server.retry`) that clients have to come back after a start, beside the grace of every subscription.
const RETRIES: u32 = 4;

/// An application whose ring is open.
pub struct Opened {
    pub app: Arc<App>,
    pub tailer: LentTailer,
    /// What it joins the other hosts with; None: there is one.
    pub joining: Option<Joining>,
}

/// What all applications share, within the bounds of `settings`.
pub fn process(settings: &Settings, connections: usize, workers: usize) -> Process {
    let server = &settings.server;
    let limits = Limits::new(
        connections,
        server.connections_share(connections),
        server.connections_per_address >= 0,
        workers,
    );
    let sizes = Sizes {
        events: server.outbox_total.0,
        requests: settings.requests_total(),
        largest_request: settings.largest_request(),
    };
    Process::new(limits, sizes)
}

/// Opens every application's ring and reads what it holds, or part of it if it is asked to stop.
///
/// # Errors
/// A sentence that names the application or the key.
pub fn open(
    settings: &Settings,
    prepared: Vec<Prepared>,
    process: &Arc<Process>,
    workers: usize,
    stops: &Stops,
) -> Result<Vec<Opened>, CannotStart> {
    let one = |prepared| open_one(settings, process, workers, stops, prepared);
    prepared.into_iter().map(one).collect()
}

fn open_one(
    settings: &Settings,
    process: &Arc<Process>,
    workers: usize,
    stops: &Stops,
    prepared: Prepared,
) -> Result<Opened, CannotStart> {
    let Prepared {
        app,
        spec,
        secrets,
        tokens,
        auth,
        hub: hub_tokens,
    } = prepared;
    let began = now_ns();
    let (slots, name) = (spec.slots, spec.name.clone());
    let not_in_memory = ring_place::warning(&spec);
    let keeper = Keeper::start(spec.clone()).map_err(|why| CannotStart::of_ring(&why, &spec))?;
    let fresh = keeper.segments().len() == 1 && keeper.current().created_ns() >= began;
    let before = self::before(&name, fresh);
    let epoch = keeper.current().epoch();
    tracing::info!("application {}: ring {} (epoch {epoch})", app.id, app.ring);
    if let Some(why) = &not_in_memory {
        tracing::warn!("{why}");
    }
    // The ring's lock is held, so no other process notes anything there. Main thread, tailers, workers, and the one that
    // carries events between hosts do.
    let threads = 2 + settings.applications().len() + workers;
    if let Err(why) = quarantine::start(&name.beside(quarantine::SUFFIX), threads) {
        tracing::warn!("{why}");
    }

    let authorizers = authorizers(settings, &app, &auth, &secrets, tokens, None)?;
    let imported = settings
        .cluster
        .address()
        .map(|_| imported(&keeper, &name, slots, fresh));
    let (journal, origins) = imported.transpose().map_err(CannotStart::lasting)?.unzip();
    let hub = Hub {
        origins: origins.map(Arc::new),
        webhooks: webhooks(&app, &secrets, &process.heartbeats)?,
        ..hub(settings, process, workers, &keeper, slots, &app)
    };
    let hub = Arc::new(hub);
    remember_erased(&hub, &name, epoch).map_err(|why| CannotStart::of_erased(why, &spec))?;
    let opened = Arc::new(application(
        settings,
        app,
        name,
        (secrets, hub_tokens),
        Authority::new(authorizers),
        hub.clone(),
        before,
    )?);
    if hub.facts.is_some() {
        opened.roster.expect_others(&hub, OTHERS);
    }
    let mut tailer = Tailer::new(keeper, hub.clone());
    tailer.read_history(stops);
    tracing::info!(
        "application {}: history of {} positions, {:.0} s",
        opened.id,
        hub.index.entries(),
        hub.segments.history_seconds()
    );
    let tailer = LentTailer::new(tailer);
    let joining = journal.zip(hub.origins.clone());
    Ok(Opened {
        joining: joining.map(|(journal, origins)| Joining {
            name: match settings.cluster.name.as_str() {
                "" => opened.id.clone(),
                name => name.to_owned(),
            },
            app: opened.clone(),
            origins,
            journal,
            tailer: tailer.clone(),
        }),
        app: opened,
        tailer,
    })
}

/// What other hosts' events the ring holds, as it was written down. What may have been published just before the process
/// ended is looked for.
fn imported(
    keeper: &Keeper,
    name: &RingName,
    slots: u64,
    fresh: bool,
) -> Result<(ImportJournal, Origins), String> {
    let (epoch, first) = (keeper.current().epoch(), keeper.position());
    let segments = RingStore::new(keeper.segments());
    let head = keeper.current().head();
    let own = geteuid().as_raw();
    let path = name.beside(import_journal::SUFFIX);
    // What is in a ring that was made just now is for others, too.
    let now = if fresh { first } else { head } - 1;
    let mut journal = ImportJournal::open(path, epoch, now, slots, |uid| uid == own)?;
    let found = recover(journal.intents(), first..head, |seq| {
        lies(&segments, Cursor { epoch, seq })
    });
    let found: Vec<Record> = found.into_iter().map(Record::from).collect();
    // What cannot be written now is found again.
    let _ = journal.write(&found, first);
    journal.forget_intents();
    // Each event that the ring can hold, and those of a ring that is being replaced.
    let origins = Origins::new(epoch, journal.start(), first, 2 * slots as usize);
    {
        let import = origins.import();
        for known in journal.known() {
            let origin = known.epoch.into();
            let _ = import.meet(origin, known.start, known.base);
            import.forgotten_up_to(origin, known.floor);
            for note in &known.notes {
                let at = Cursor {
                    epoch,
                    seq: note.local,
                };
                let _ = match note.gap {
                    None => import.event(origin, note.position, at),
                    Some(from) => import.gap(origin, from, note.position, at),
                };
            }
            import.through(origin, known.through);
        }
    }
    Ok((journal, origins))
}

/// What lies in the ring, for who looks for imports.
fn lies(segments: &RingStore, at: Cursor) -> recovery::Place {
    match segments.place(at) {
        Place::Nothing { through } => recovery::Place::Nothing { through },
        Place::Lost { through } => recovery::Place::Lost { through },
        Place::Event(event) => match event.imported() {
            None => recovery::Place::Own,
            Some(at) => recovery::Place::Imported {
                at,
                gap: event.gap(),
            },
        },
    }
}

/// What was erased stays so. Without it askrd does not serve: it would give out again what it promised to forget.
fn remember_erased(hub: &Hub, ring: &RingName, epoch: Epoch) -> Result<(), String> {
    let path = ring.beside(erased_file::SUFFIX);
    let own = geteuid().as_raw();
    let known = erased_file::read(&path, |uid| uid == own)?;
    if let Some(origins) = &hub.origins {
        hub.index.erased.among(origins.clone());
    }
    hub.index.erased.restart(epoch);
    hub.index.erased.set(known);
    if hub.index.erased.is_empty() {
        // Of a ring that is gone.
        let _ = std::fs::remove_file(&path);
    }
    Ok(())
}

/// The application's parts that need no ring. `before`: who was on its presence channels.
fn application(
    settings: &Settings,
    app: config::App,
    ring: RingName,
    (secrets, hub_tokens): (Vec<Secret>, Option<HubTokens>),
    authority: Authority,
    hub: Arc<Hub>,
    before: Before,
) -> Result<App, String> {
    let prover = Prover::new(&app.id, &secrets).map_err(|why| format!("no randomness: {why}"))?;
    let mut publisher = Publisher::new();
    publisher.configure(AttachOptions {
        name: ring.clone(),
        ..AttachOptions::default()
    });
    let connections_share = settings.server.connections_share(app.max_connections);
    Ok(App {
        quota: Quota::new(app.max_connections, connections_share),
        hub,
        authority,
        roster: Roster::new(
            presence_limits(&app),
            before.clone(),
            Some(Note::new(ring.beside(presence_note::SUFFIX), &before)),
        ),
        peers: match settings.cluster.address() {
            None => Peers::alone(),
            Some(_) => Peers::among_others(),
        },
        prover,
        reloadable: Current::new(reloadable(settings, &app, secrets, hub_tokens)),
        publishing: Publishing::new(publisher),
        active: Arc::new(active(&app, &ring, settings.server.retry)),
        watchlists: Watchlists::default(),
        client_events: ClientEventRate::new(app.client_events_total),
        history_calls: ClientRates::new(Bound::per_second(settings.server.history_rate)),
        erasing: tokio::sync::Mutex::default(),
        id: app.id,
        ring,
    })
}

/// What a reload replaces as a whole.
pub fn reloadable(
    settings: &Settings,
    app: &config::App,
    secrets: Vec<Secret>,
    hub: Option<HubTokens>,
) -> Reloadable {
    let key = app.key().to_owned();
    // Looked at with the settings.
    let event_names = app.event_names().unwrap_or_default();
    Reloadable {
        credentials: Credentials {
            key: key.clone(),
            secrets: match app.asks("pusher") {
                true => secrets.clone(),
                false => Vec::new(),
            },
        },
        api_credentials: Credentials { key, secrets },
        api_limits: api::Limits {
            payload: app.api_payload.0 as usize,
            batch: app.api_batch,
            ..api::Limits::default()
        },
        event_names: EventNames::new(event_names),
        history_bytes: settings.server.history_bytes.0 as usize,
        change_limits: ChangeLimits {
            channels: settings.server.channels_per_stream,
            rewind: settings.broadcast.rewind(),
        },
        mercure: hub.map(|tokens| Mercure {
            tokens,
            anonymous: app.mercure_anonymous,
            cookie: app.mercure_cookie.clone(),
            legacy_cookie: app.mercure_legacy_cookie.clone(),
            matchers: app.mercure_matchers,
        }),
    }
}

/// Active subscriptions of its hub, with those of the process before.
fn active(app: &config::App, ring: &RingName, retry: u32) -> Active {
    if app.mercure().is_none() {
        return Active::default();
    }
    let path = ring.beside(active_note::SUFFIX);
    let before = active_note::read(&path).unwrap_or_else(|why| {
        tracing::warn!("{why}: active subscriptions of before are not known");
        Vec::new()
    });
    let within = active::GRACE + RETRIES * Duration::from_millis(retry.into());
    Active::new(&before, Journal::new(path, &before), within)
}

/// Who may still come back. `fresh`: the ring has just been made, so a presence channel cannot have had members.
fn before(ring: &RingName, fresh: bool) -> Before {
    if fresh {
        return Before::Nobody;
    }
    match presence_note::read(&ring.beside(presence_note::SUFFIX)) {
        Ok(before) => before.unwrap_or(Before::Somebody),
        Err(why) => {
            tracing::warn!("{why}: who was on presence channels is not known");
            Before::Somebody
        }
    }
}

pub fn presence_limits(app: &config::App) -> presence::Limits {
    presence::Limits {
        channel_members: match app.channel_members {
            0 => usize::MAX,
            most => most,
        },
        members: app.members,
        user_channels: presence::channels_of_a_user(app.members),
        users: app.users(),
        grace: app.grace().as_millis() as u64,
        ..presence::Limits::default()
    }
}

fn hub(
    settings: &Settings,
    process: &Arc<Process>,
    workers: usize,
    keeper: &Keeper,
    slots: u64,
    app: &config::App,
) -> Hub {
    let broadcast = &settings.broadcast;
    let first = keeper.position();
    let entries = match broadcast.index_entries {
        0 => 4 * slots as usize,
        n => n,
    };
    let bounds = channel_index::Bounds {
        entries,
        channels: broadcast.index_channels,
        marks: slots as usize,
    };
    let inbox = inbox::Limits {
        items: broadcast.queue,
        bytes: usize::try_from(broadcast.queue_bytes.0).unwrap_or(usize::MAX),
    };
    let segments = RingStore::new(keeper.segments());
    let limit = settings.server.subscribers_per_channel;
    Hub {
        index: ChannelIndex::new(bounds, first),
        routes: Routes::default(),
        watermarks: match settings.cluster.address() {
            None => Watermarks::new(first),
            Some(_) => Watermarks::on_several_hosts(first),
        },
        inboxes: (0..workers)
            .map(|_| Inbox::new(inbox, &process.memory))
            .collect(),
        store: Box::new(segments.clone()),
        segments,
        subscriber_counts: match settings.cluster.address() {
            None => SubscriberCounts::new(limit, app.subscription_counts),
            Some(_) => SubscriberCounts::among_others(
                limit,
                app.subscription_counts,
                !app.webhook_url.is_empty(),
            ),
        },
        holdings: Holdings::new(settings.server.holdings(app.max_channels)),
        topics: topics(app, slots),
        last_events: LastEvents::default(),
        origins: None,
        webhooks: None,
        tailed: Default::default(),
        workers: Workers::new(workers),
        open: Default::default(),
        busy_channels: Default::default(),
        traces: Default::default(),
        facts: facts(settings, app),
        process: process.clone(),
    }
}

/// Of an application without a hub, nobody subscribes to its topics.
fn topics(app: &config::App, slots: u64) -> Arc<Topics> {
    let hub = app.mercure().unwrap_or_else(HubUrl::standard);
    Arc::new(Topics::new(hub, topic_limits(app), slots as usize))
}

pub fn topic_limits(app: &config::App) -> topics::Limits {
    topics::Limits {
        patterns: app.mercure_patterns,
        per_address: app.mercure_patterns_per_address,
        grants: app.mercure_grants.0 as usize,
    }
}

/// What is said to other hosts, if there are any.
fn facts(settings: &Settings, app: &config::App) -> Option<Facts> {
    settings.cluster.address()?;
    // Members are bounded for all hosts together; as much again is for channels and users.
    let most = 2 * app.members;
    let limits = others::Limits {
        per_node: most,
        facts: most,
    };
    // Two processes of one node must not have the same number; the clock does where there is no randomness.
    let process = getrandom::u64().unwrap_or_else(|_| now_ns());
    Some(Facts::new(process, limits))
}

fn webhooks(
    app: &config::App,
    secrets: &[Secret],
    heartbeats: &Heartbeats,
) -> Result<Option<Webhooks>, String> {
    if app.webhook_url.is_empty() {
        return Ok(None);
    }
    let credentials = Credentials {
        key: app.key().to_owned(),
        secrets: secrets.to_vec(),
    };
    let started = Webhooks::start(
        vec![app.webhook()],
        &credentials,
        webhooks::Limits::default(),
        heartbeats.of(format!("the webhooks' thread of application {}", app.id)),
    );
    started
        .map(Some)
        .map_err(|why| format!("application {}: webhook_url: {why}", app.id))
}

/// The application's authorizers, in the place of those `before`.
pub fn authorizers(
    settings: &Settings,
    app: &config::App,
    auth: &config::Auth,
    secrets: &[Secret],
    mut tokens: Option<Tokens>,
    before: Option<&Authorizers>,
) -> Result<Authorizers, String> {
    let named = |(key, why): (&str, String)| format!("application {}: {key}: {why}", app.id);
    if let (Some(tokens), Some(file)) = (&mut tokens, auth.secret_file()) {
        let read = {
            let (app, auth) = (app.clone(), auth.clone());
            move || app.secrets(&auth).map_err(|(_, why)| why)
        };
        let started = tokens.rotate(file, auth, read);
        started.map_err(|why| named(("secret_file", format!("cannot be read again: {why}"))))?;
    }
    if let Some(tokens) = &mut tokens {
        match (
            before.and_then(|all| all.tokens.as_ref()),
            settings.server.state_directory(),
        ) {
            (Some(before), _) => tokens.succeed(before),
            (None, Some(directory)) => {
                let file = directory.join(format!("revoked-{}", app.id));
                tokens.keep_in(&file).map_err(named)?;
            }
            (None, None) => {}
        }
    }
    let signatures = (app.asks("pusher") && !secrets.is_empty()).then(|| Signatures {
        credentials: Credentials {
            key: app.key().to_owned(),
            secrets: secrets.to_vec(),
        },
        users: app.users(),
    });
    let limits = http_call::Limits {
        time: Duration::from_secs_f64(app.auth_timeout),
        calls: app.auth_calls,
        calls_per_client: shares::of_setting(
            app.auth_calls_per_address,
            shares::by_default(app.auth_calls, shares::ANY),
        ),
        anonymous: app.auth_anonymous,
        remember: app.auth_cache.into(),
        users: app.users(),
        ..http_call::Limits::default()
    };
    let before = before.and_then(|all| all.http.as_ref());
    let call = || match before {
        // With what it remembers.
        Some(before) if before.is(&app.auth_url, limits) => Ok(before.clone()),
        _ => {
            let mut call = HttpCall::new(&app.auth_url, limits)?;
            if let Some(before) = before {
                call.succeed(before);
            }
            Ok(Arc::new(call))
        }
    };
    let http = (app.asks("http") && !app.auth_url.is_empty())
        .then(call)
        .transpose()
        .map_err(|why| named(("auth_url", why)))?;
    Ok(Authorizers {
        tokens,
        signatures,
        http,
    })
}

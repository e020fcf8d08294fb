//! Opens the applications of the settings: each with its ring, whose history is read.

use std::sync::Arc;
use std::time::Duration;

use nix::unistd::geteuid;
use protocol::pusher::api;
use protocol::pusher::signature::Credentials;
use protocol::rate_limit::Bound;
use protocol::socket_id::Prover;
use shared::cursor::Epoch;
use shared::keeper::Keeper;
use shared::name::RingName;
use shared::publisher::{AttachOptions, Publisher};
use shared::secret::Secret;
use shared::segment::now_ns;

use crate::app::application::App;
use crate::app::client_event_rate::ClientEventRate;
use crate::app::event_names::EventNames;
use crate::app::publishing::Publishing;
use crate::app::quota::Quota;
use crate::auth::authority::Authority;
use crate::auth::http_call::{self, HttpCall};
use crate::auth::signatures::Signatures;
use crate::auth::tokens::Tokens;
use crate::config;
use crate::config::Settings;
use crate::hub::channel_index::ChannelIndex;
use crate::hub::event_store::RingStore;
use crate::hub::hub::Hub;
use crate::hub::inbox::{Inbox, Watermarks};
use crate::hub::last_events::LastEvents;
use crate::hub::presence::Before;
use crate::hub::presence_note;
use crate::hub::presence_note::Note;
use crate::hub::roster::Roster;
use crate::hub::routes::Routes;
use crate::hub::subscriber_counts::SubscriberCounts;
use crate::hub::tailer::Tailer;
use crate::hub::watchlists::Watchlists;
use crate::hub::{channel_index, erased_file, inbox, presence};
use crate::outbound::webhooks;
use crate::outbound::webhooks::Webhooks;
use crate::process::admission::Limits;
use crate::process::client_rates::ClientRates;
use crate::process::heartbeats::Heartbeats;
use crate::process::holdings::Holdings;
use crate::process::signals::Stops;
use crate::process::state::{Process, Sizes};
use crate::process::{quarantine, shares};
use crate::server::cannot_start::CannotStart;
use crate::server::preflight::Prepared;
use crate::server::ring_place;

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
    Process::new(workers, limits, sizes)
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
) -> Result<Vec<(Arc<App>, Tailer)>, CannotStart> {
    let one = |prepared| open_one(settings, process, workers, stops, prepared);
    prepared.into_iter().map(one).collect()
}

fn open_one(
    settings: &Settings,
    process: &Arc<Process>,
    workers: usize,
    stops: &Stops,
    prepared: Prepared,
) -> Result<(Arc<App>, Tailer), CannotStart> {
    let Prepared {
        app,
        spec,
        secrets,
        tokens,
        auth,
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
    // The ring's lock is held, so no other process notes anything there. Main thread, tailers and workers do.
    let threads = 1 + settings.applications().len() + workers;
    if let Err(why) = quarantine::start(&name.beside(quarantine::SUFFIX), threads) {
        tracing::warn!("{why}");
    }

    let authority = authority(settings, &app, &auth, &secrets, tokens)?;
    let hub = Hub {
        webhooks: webhooks(&app, &secrets, &process.heartbeats)?,
        ..hub(settings, process, workers, &keeper, slots, &app)
    };
    let hub = Arc::new(hub);
    remember_erased(&hub, &name, epoch).map_err(|why| CannotStart::of_erased(why, &spec))?;
    let opened = Arc::new(application(
        settings,
        app,
        name,
        secrets,
        authority,
        hub.clone(),
        before,
    )?);
    let mut tailer = Tailer::new(keeper, hub.clone());
    tailer.read_history(stops);
    tracing::info!(
        "application {}: history of {} positions, {:.0} s",
        opened.id,
        hub.index.entries(),
        hub.segments.history_seconds()
    );
    Ok((opened, tailer))
}

/// What was erased stays so. Without it askrd does not serve: it would give out again what it promised to forget.
fn remember_erased(hub: &Hub, ring: &RingName, epoch: Epoch) -> Result<(), String> {
    let path = ring.beside(erased_file::SUFFIX);
    let own = geteuid().as_raw();
    let known = erased_file::read(&path, |uid| uid == own)?;
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
    secrets: Vec<Secret>,
    authority: Authority,
    hub: Arc<Hub>,
    before: Before,
) -> Result<App, String> {
    let key = app.key().to_owned();
    let prover = Prover::new(&app.id, &secrets).map_err(|why| format!("no randomness: {why}"))?;
    let mut publisher = Publisher::new();
    publisher.configure(AttachOptions {
        name: ring.clone(),
        owner: None,
    });
    // Looked at with the settings.
    let event_names = app.event_names().unwrap_or_default();
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
        prover,
        credentials: Credentials {
            key: key.clone(),
            secrets: match app.asks("pusher") {
                true => secrets.clone(),
                false => Vec::new(),
            },
        },
        api_credentials: Credentials { key, secrets },
        publishing: Publishing::new(
            publisher,
            api::Limits {
                payload: app.api_payload.0 as usize,
                batch: app.api_batch,
                ..api::Limits::default()
            },
        ),
        watchlists: Watchlists::default(),
        client_events: ClientEventRate::new(app.client_events_total),
        event_names: EventNames::new(event_names),
        history_calls: ClientRates::new(Bound::per_second(settings.server.history_rate)),
        history_bytes: settings.server.history_bytes.0 as usize,
        erasing: tokio::sync::Mutex::default(),
        id: app.id,
        ring,
    })
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

fn presence_limits(app: &config::App) -> presence::Limits {
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
    Hub {
        index: ChannelIndex::new(bounds, first),
        routes: Routes::default(),
        watermarks: Watermarks::new(first),
        inboxes: (0..workers)
            .map(|_| Inbox::new(inbox, &process.memory))
            .collect(),
        store: Box::new(segments.clone()),
        segments,
        subscriber_counts: SubscriberCounts::new(
            settings.server.subscribers_per_channel,
            app.subscription_counts,
        ),
        holdings: Holdings::new(settings.server.holdings(app.max_channels)),
        last_events: LastEvents::default(),
        webhooks: None,
        tailed: Default::default(),
        process: process.clone(),
    }
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

/// The application's authorizers.
fn authority(
    settings: &Settings,
    app: &config::App,
    auth: &config::Auth,
    secrets: &[Secret],
    mut tokens: Option<Tokens>,
) -> Result<Authority, String> {
    let named = |(key, why): (&str, String)| format!("application {}: {key}: {why}", app.id);
    if let (Some(tokens), Some(directory)) = (&mut tokens, settings.server.state_directory()) {
        let file = directory.join(format!("revoked-{}", app.id));
        tokens.keep_in(&file).map_err(named)?;
    }
    if let (Some(tokens), Some(file)) = (&mut tokens, auth.secret_file()) {
        let read = {
            let (app, auth) = (app.clone(), auth.clone());
            move || app.secrets(&auth).map_err(|(_, why)| why)
        };
        let started = tokens.rotate(file, auth, read);
        started.map_err(|why| named(("secret_file", format!("cannot be read again: {why}"))))?;
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
    let http = (app.asks("http") && !app.auth_url.is_empty())
        .then(|| HttpCall::new(&app.auth_url, limits))
        .transpose()
        .map_err(|why| named(("auth_url", why)))?;
    Ok(Authority::new(tokens, signatures, http))
}

//! The settings as the workers need them.

use std::sync::Arc;

use protocol::rate_limit::Bound;
use protocol::{plain, pusher};

use crate::app::application::App;
use crate::config;
use crate::config::Settings;
use crate::engine::{Rules, outbox};
use crate::http::Policy;
use crate::process::state::Process;
use crate::server::worker::Setup;

/// What every worker is started with.
pub fn setup(settings: &Settings, process: &Arc<Process>, apps: &[Arc<App>]) -> Setup {
    let server = &settings.server;
    let named = settings.applications();
    Setup {
        apps: apps.to_vec(),
        rules: named.iter().map(|(app, ..)| rules(settings, app)).collect(),
        policy: Policy::new(
            server,
            settings.broadcast.rewind(),
            named.iter().map(|(app, ..)| app),
        ),
        process: process.clone(),
        retry: server.retry,
        header_timeout: server.header_timeout(),
        write_timeout: server.write_timeout(),
        ping: server.ping(),
        drain: server.drain(),
    }
}

fn rules(settings: &Settings, app: &config::App) -> Rules {
    let (server, rewind) = (&settings.server, settings.broadcast.rewind());
    let pusher = pusher::session::Limits::default();
    // Client events are messages, too: those that are allowed must not reach the limit of all kinds.
    let message_rate = Bound {
        per_second: pusher.message_rate.per_second + app.client_event_rate,
        burst: pusher.message_rate.burst + app.client_event_rate,
    };
    Rules {
        io: server.io,
        slow_clients: server.slow_clients,
        outbox: outbox::Bounds {
            frames: server.outbox_frames,
            bytes: server.outbox_bytes.0 as usize,
        },
        retry: server.retry,
        max_age: server.stream_max_age,
        max_idle: server.stream_max_idle,
        expiry_notice: settings.auth.expiry_notice,
        authorize_timeout: app.authorize_timeout,
        write_timeout: server.write_timeout(),
        max_channels: app.max_channels,
        channels_per_stream: server.channels_per_stream,
        rewind,
        pusher: pusher::session::Limits {
            channels: server.channels_per_socket,
            client_events: app.client_events,
            client_event_rate: match app.client_event_rate {
                0 => message_rate,
                rate => Bound::per_second(rate),
            },
            client_event_bytes: app.client_event_bytes.0 as usize,
            message_rate,
            users: app.users(),
            rewind,
            silence: server.silence(),
        },
        plain: plain::Limits {
            channels: server.channels_per_socket,
            rewind,
            silence: server.silence(),
            ..plain::Limits::default()
        },
        message_bytes: app.message_bytes(),
    }
}

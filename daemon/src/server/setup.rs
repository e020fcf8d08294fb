//! The settings as the workers need them, at the start and at each reload.

use std::sync::Arc;

use protocol::rate_limit::Bound;
use protocol::{client_event, plain, pusher};

use crate::config;
use crate::config::Settings;
use crate::engine::{Rules, outbox};
use crate::http::Policy;
use crate::server::worker::Live;

pub fn live(settings: &Settings) -> Live {
    let server = &settings.server;
    let named = settings.applications();
    Live {
        rules: named.iter().map(|(app, ..)| rules(settings, app)).collect(),
        policy: Arc::new(Policy::new(
            server,
            settings.broadcast.rewind(),
            named.iter().map(|(app, ..)| app),
        )),
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
            message_rate,
            users: app.users(),
            rewind,
            silence: server.silence(),
        },
        plain: plain::Limits {
            channels: server.channels_per_socket,
            rewind,
            silence: server.silence(),
            message_rate,
        },
        client_events: client_event::Limits {
            enabled: app.client_events,
            rate: match app.client_event_rate {
                0 => message_rate,
                rate => Bound::per_second(rate),
            },
            bytes: app.client_event_bytes.0 as usize,
        },
        message_bytes: app.message_bytes(),
    }
}

//! Any lines as messages of a client of the plain protocol: the bounds hold, names obey the rules, and what
//! is told is JSON.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use protocol::plain::{Action, Limits, Session, World};
use protocol::rewind;
use protocol::rewind::Rewind;
use serde_json::Value;
use shared::vector::Vector;

const CHANNELS: usize = 3;

struct Engine {
    limits: Limits,
    channels: BTreeSet<String>,
}

impl World for Engine {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn is_subscribed(&self, channel: &str) -> bool {
        self.channels.contains(channel)
    }

    fn channels(&self) -> usize {
        self.channels.len()
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let limits = Limits {
        channels: CHANNELS,
        rewind: rewind::Limits {
            events: 100,
            seconds: 60,
        },
        ..Limits::default()
    };
    let mut engine = Engine {
        limits,
        channels: BTreeSet::new(),
    };
    let mut session = Session::default();
    for (n, line) in text.split('\n').enumerate() {
        for action in session.on_text(line, 20 * n as u64, &engine) {
            match action {
                Action::Send(text) => {
                    let told: Value = serde_json::from_slice(&text).expect("JSON");
                    assert_eq!(told.as_object().map(|told| told.len()), Some(1));
                }
                Action::Subscribe {
                    channels,
                    since,
                    rewind,
                    ..
                } => {
                    let limits = engine.limits.rewind;
                    assert!(match rewind {
                        Some(Rewind::Events(events)) => (1..=limits.events).contains(&events),
                        Some(Rewind::Seconds(seconds)) => (1..=limits.seconds).contains(&seconds),
                        Some(Rewind::All) | None => true,
                    });
                    assert!(since.is_none_or(|since| (1..=Vector::MAX_LEN).contains(&since.len())));
                    for channel in channels {
                        assert!(shared::rules::channel(channel.as_bytes()).is_ok());
                        assert!(!channel.starts_with("#server-to-user-"));
                        engine.channels.insert(channel);
                    }
                }
                Action::Unsubscribe { channels } => {
                    for channel in channels {
                        assert!(engine.channels.remove(&channel));
                    }
                }
                Action::ClientEvent(event) => {
                    let subscribed = engine.channels.contains(&event.channel);
                    askrd_fuzz::check_client_event(&event, subscribed);
                }
                Action::Close { .. } => return,
                Action::Ping | Action::Count(_) => {}
            }
        }
        assert!(engine.channels.len() <= CHANNELS);
    }
});

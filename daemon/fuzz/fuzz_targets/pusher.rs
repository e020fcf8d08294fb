//! Any lines as a Pusher client's messages. No fuzzer guesses a signature: `"auth":"s"` is replaced by the
//! right one. Whatever is said, the bounds hold, nobody is where a signature was needed and not given, and
//! what is told or passed on is JSON.
#![no_main]

use std::collections::BTreeMap;

use askrd_fuzz::{KEY, code, credentials};
use libfuzzer_sys::fuzz_target;
use protocol::channel;
use protocol::pusher::channel_name as name;
use protocol::pusher::session::{Action, Limits, Session, Subscribed, World};
use protocol::pusher::signature::Credentials;
use protocol::rewind;
use protocol::rewind::Rewind;
use protocol::user_bounds::UserBounds;
use serde_json::Value;

const SOCKET: &str = "1234.1234";
const CHANNELS: usize = 3;
const USERS: UserBounds = UserBounds { id: 20, info: 60 };

struct Engine {
    credentials: Credentials,
    limits: Limits,
    channels: BTreeMap<String, Option<String>>,
    has_token: bool,
}

impl World for Engine {
    fn socket(&self) -> String {
        SOCKET.into()
    }

    fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn subscribed(&self, channel: &str) -> Subscribed<'_> {
        match self.channels.get(channel) {
            None => Subscribed::No,
            Some(None) => Subscribed::Yes,
            Some(Some(user)) => Subscribed::As(user),
        }
    }

    fn channels(&self) -> usize {
        self.channels.len()
    }

    fn has_token(&self) -> bool {
        self.has_token
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut engine = Engine {
        credentials: credentials(),
        limits: Limits {
            channels: CHANNELS,
            users: USERS,
            rewind: rewind::Limits {
                events: 100,
                seconds: 60,
            },
            ..Limits::default()
        },
        channels: BTreeMap::new(),
        has_token: data.len() % 2 == 0,
    };
    let mut session = Session::default();
    for (n, line) in text.split('\n').enumerate() {
        let (line, signed) = sign(line);
        let actions = session.on_text(&line, 20 * n as u64, &engine);
        for action in actions {
            if matches!(action, Action::Close { .. }) {
                return;
            }
            done(action, signed, &session, &mut engine);
        }
        // The user's own channel comes by itself, beyond the others.
        assert!(engine.channels.len() <= CHANNELS + 1);
    }
});

fn done(action: Action, signed: bool, session: &Session, engine: &mut Engine) {
    match action {
        Action::Send(text) => {
            let told: Value = serde_json::from_slice(&text).expect("JSON");
            assert!(
                told["event"]
                    .as_str()
                    .is_some_and(|e| e.starts_with("pusher"))
            );
        }
        Action::Subscribe {
            channel,
            user,
            rewind,
            ..
        } => {
            let limits = engine.limits.rewind;
            assert!(match rewind {
                Some(Rewind::Events(events)) => (1..=limits.events).contains(&events),
                Some(Rewind::Seconds(seconds)) => (1..=limits.seconds).contains(&seconds),
                Some(Rewind::All) | None => true,
            });
            assert!(shared::rules::channel(channel.as_bytes()).is_ok());
            let kind = channel::Kind::of(&channel);
            assert!(!kind.needs_authorization() || signed);
            assert_eq!(kind.is_presence(), user.is_some());
            if let Some(own) = name::user(&channel) {
                assert_eq!(session.user().map(|user| user.id.as_str()), Some(own));
            }
            if let Some(user) = &user {
                askrd_fuzz::check_user(Some(&user.id), user.info.as_deref(), USERS);
            }
            let user = user.map(|user| user.id);
            let before = engine.channels.insert(channel, user.clone());
            assert!(before.is_none_or(|before| before == user));
        }
        // What the token grants is another's to say: it opens nothing here.
        Action::Authorize { channel, token, .. } => {
            assert!(shared::rules::channel(channel.as_bytes()).is_ok());
            assert!(channel::Kind::of(&channel).needs_authorization());
            assert!(name::user(&channel).is_none());
            assert!(token.map_or(engine.has_token, |token| !token.contains(':')));
        }
        Action::Unsubscribe { channel } => assert!(engine.channels.remove(&channel).is_some()),
        Action::ClientEvent(event) => {
            assert!(event.event.starts_with("client-"));
            let subscribed = engine.channels.contains_key(&event.channel);
            askrd_fuzz::check_client_event(&event, subscribed);
        }
        Action::Signin(user) => {
            assert!(signed && user.watchlist.len() <= 100);
            askrd_fuzz::check_user(Some(&user.id), user.info.as_deref(), USERS);
        }
        Action::Ping | Action::Close { .. } | Action::Count(_) => {}
    }
}

/// The line with its signature, and whether it has one.
fn sign(line: &str) -> (String, bool) {
    let Ok(mut message) = serde_json::from_str::<Value>(line) else {
        return (line.to_owned(), false);
    };
    if message["data"]["auth"] != "s" {
        return (line.to_owned(), false);
    }
    let data = &message["data"];
    let part = |name: &str| data[name].as_str().filter(|part| !part.is_empty());
    let text = match (part("user_data"), part("channel"), part("channel_data")) {
        (Some(user), ..) => format!("{SOCKET}::user::{user}"),
        (_, Some(channel), Some(data)) => format!("{SOCKET}:{channel}:{data}"),
        (_, channel, _) => format!("{SOCKET}:{}", channel.unwrap_or_default()),
    };
    message["data"]["auth"] = format!("{KEY}:{}", code(&text)).into();
    (message.to_string(), true)
}

//! Any request to the HTTP API: `METHOD PATH?QUERY`, a line break, the body. As it is: refused, since nobody
//! guesses a signature. Rightly signed: refused with one line, or a call that can be carried out.
#![no_main]

use askrd_fuzz::{KEY, check_user, code, credentials};
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;
use protocol::channel::Kind;
use protocol::history;
use protocol::mac;
use protocol::pusher::api::{self, Call, Limits, Publish};
use protocol::pusher::signature::ApiRequest;
use protocol::user_bounds::{MAX_ID, UserBounds};
use shared::rules;

const NOW: u64 = 1_353_088_179;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (line, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Ok(line) = std::str::from_utf8(line) else {
        return;
    };
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = ApiRequest {
        method,
        path,
        query,
        body,
    };
    let limits = Limits {
        payload: 100,
        ..Limits::default()
    };
    let _ = api::target(path);
    assert!(api::call(&request, &credentials(), NOW, &limits).is_err());
    let query = signed(&request);
    let request = ApiRequest {
        query: &query,
        ..request
    };
    match api::call(&request, &credentials(), NOW, &limits) {
        Ok(call) => sound(&call, request.method),
        Err(why) => {
            assert!(matches!(why.status.as_u16(), 400 | 401 | 404 | 405 | 413));
            assert!(!why.reason.is_empty() && !why.reason.contains('\n'));
        }
    }
});

fn sound(call: &Call, method: &str) {
    match call {
        Call::Publish(event) => published(event),
        Call::Batch(events) => {
            assert!((1..=10).contains(&events.len()));
            for event in events {
                assert_eq!(event.channels.len(), 1);
                published(event);
            }
        }
        Call::Channels { info, .. } => assert!(!info.cache),
        Call::Channel { channel, info } => {
            assert!(rules::channel(channel.as_bytes()).is_ok());
            assert!(info.occupied);
        }
        Call::Users { channel } => assert!(Kind::of(channel).is_presence()),
        Call::Events { channel, window } => {
            assert!(rules::channel(channel.as_bytes()).is_ok());
            assert!((1..=history::MOST).contains(&window.limit));
        }
        Call::Terminate { user } => {
            let users = UserBounds {
                id: MAX_ID,
                ..UserBounds::default()
            };
            check_user(Some(user), None, users);
        }
        Call::Connections => {}
    }
    let changes = matches!(
        call,
        Call::Publish(_) | Call::Batch(_) | Call::Terminate { .. }
    );
    assert_eq!(method, if changes { "POST" } else { "GET" });
}

fn published(event: &Publish) {
    assert!(rules::event(event.name.as_bytes()).is_ok());
    assert!(event.data.len() <= 100);
    assert!((1..=rules::MAX_CHANNELS).contains(&event.channels.len()));
    for channel in &event.channels {
        assert!(rules::channel(channel.as_bytes()).is_ok());
    }
    if let Some(socket) = &event.except {
        assert!(rules::except(socket.as_bytes()).is_ok());
    }
}

/// The query with what a library adds to it.
fn signed(request: &ApiRequest) -> String {
    let (key, now) = (KEY.to_owned(), NOW.to_string());
    let mut pairs = vec![
        ("auth_key".to_owned(), key),
        ("auth_timestamp".to_owned(), now),
        ("auth_version".to_owned(), "1.0".to_owned()),
    ];
    if !request.body.is_empty() {
        pairs.push(("body_md5".to_owned(), mac::hex(&Md5::digest(request.body))));
    }
    let mut query: String = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}&"))
        .collect();
    for pair in request.query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        pairs.push((decode(key).to_lowercase(), decode(value)));
        query.extend([pair, "&"]);
    }
    pairs.sort();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let text = format!("{}\n{}\n{}", request.method, request.path, pairs.join("&"));
    format!("{query}auth_signature={}", code(&text))
}

//! Any text as the query and the path of a request for a stream or a page of history (the first line), as the body of a
//! change of a stream or of a client event (what follows), and as what is kept of erased channels: names obey the rules and the bound, and no
//! body is taken without the right secret.
#![no_main]

use askrd::http::{change, client_event, path, query};
use askrd::hub::command::Since;
use askrd::hub::erased_file;
use askrd_fuzz::credentials;
use libfuzzer_sys::fuzz_target;
use protocol::history::{self, Window};
use protocol::rewind::{Limits, Rewind};
use protocol::socket_id;
use protocol::socket_id::{Place, Prover};

const MOST: usize = 3;
const LIMITS: Limits = Limits {
    events: 100,
    seconds: 60,
};

fn check_rewind(rewind: Rewind) {
    assert!(match rewind {
        Rewind::Events(events) => (1..=LIMITS.events).contains(&events),
        Rewind::Seconds(seconds) => (1..=LIMITS.seconds).contains(&seconds),
        Rewind::All => true,
    });
}

fn check(channels: &[String]) {
    assert!(channels.len() <= MOST);
    for (n, channel) in channels.iter().enumerate() {
        assert!(shared::rules::channel(channel.as_bytes()).is_ok());
        assert!(!channel.starts_with("#server-to-user-"), "a user's own");
        assert!(!channels[..n].contains(channel), "distinct");
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (line, body) = text.split_once('\n').unwrap_or((text, ""));
    match query::parse(line, MOST, LIMITS) {
        Ok(query) => {
            check(&query.channels);
            query.rewind.into_iter().for_each(check_rewind);
            if let query::Name::Session(session) = query.name {
                assert!(socket_id::SESSION.contains(&session.len()));
            }
        }
        Err(why) => assert!(matches!(why.status.as_u16(), 400 | 403) && !why.reason.contains('\n')),
    }
    // The same line as a path: what is taken stays below where it begins, also for a reader that resolves dots.
    if !path::has_dot_segments(line) {
        let decoded = percent_encoding::percent_decode_str(line).collect::<Vec<u8>>();
        let mut segments = decoded.split(|b| *b == b'/');
        assert!(segments.all(|segment| !matches!(segment, b"." | b"..")));
    }
    // The same as that of a page of history.
    match Window::parse(line) {
        Ok(window) => assert!((1..=history::MOST).contains(&window.limit)),
        Err(why) => assert!(!why.to_string().contains('\n')),
    }
    // And as what is kept of erased channels.
    if let Ok(known) = erased_file::parse(text) {
        assert!(
            known
                .iter()
                .all(|erasure| shared::rules::channel(erasure.channel.as_bytes()).is_ok())
        );
    }
    let prover = Prover::new("shop", &credentials().secrets).expect("randomness");
    if let Err(why) = change::read(body.as_bytes(), &prover, MOST, LIMITS) {
        assert!(matches!(why.status.as_u16(), 400 | 403) && !why.reason.contains('\n'));
    } else {
        panic!("a secret was found by chance");
    }
    if let Err(why) = client_event::read(body.as_bytes(), &prover) {
        assert!(matches!(why.status.as_u16(), 400 | 403) && !why.reason.contains('\n'));
    } else {
        panic!("a secret was found by chance");
    }
    // The same with the right secret in its place.
    let socket = "1.2".parse().expect("an id");
    let place = Place { worker: 1, slot: 2 };
    let body = body.replace("SECRET", &prover.prove(socket, place, 1000).to_string());
    if let Ok(change) = change::read(body.as_bytes(), &prover, MOST, LIMITS) {
        assert_eq!((change.socket, change.held), (socket, place.into()));
        check(&change.channels);
        if let Some(Since::Rewind(rewind)) = change.since {
            check_rewind(rewind);
        }
    }
    if let Ok(sent) = client_event::read(body.as_bytes(), &prover) {
        assert_eq!((sent.socket, sent.held), (socket, place.into()));
        askrd_fuzz::check_client_event(&sent.event, true);
    }
});

//! Anything as a message of another node: refused, or one that is the same when it is written and read again.
#![no_main]

use askrd::app::peer_message::PeerMessage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(message) = PeerMessage::parse(data) else {
        return;
    };
    let again = PeerMessage::parse(message.clone().encode().as_bytes()).unwrap();
    assert_eq!(
        (message.from, message.kind, &message.topic),
        (again.from, again.kind, &again.topic)
    );
    let body = |message: &PeerMessage| message.body.as_ref().map(|body| body.get().to_owned());
    assert_eq!(body(&message), body(&again));
});

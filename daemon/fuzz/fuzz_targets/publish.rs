//! Any form that is posted to a Mercure hub: refused with one line, or an update that may lie in the ring, of topics that a
//! publisher may use, and the same if it is written as a form again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::mercure::hub_url::HubUrl;
use protocol::mercure::publish::{self, Refused};
use shared::event::EventRef;

const MOST: usize = 1000;

fuzz_target!(|form: &[u8]| {
    let hub = HubUrl::standard();
    let update = match publish::parse(form, &hub, MOST) {
        Ok(update) => update,
        Err(Refused::TooLarge(why) | Refused::Invalid(why)) => {
            assert!(!why.contains(['\n', '\r']) && why.len() < 1000);
            return;
        }
    };
    assert!(!update.topics.is_empty() && update.data.len() <= MOST);
    for topic in &update.topics {
        assert!(!hub.is_own(topic) && topic != "*", "{topic}");
    }
    let topics: Vec<&[u8]> = update.topics.iter().map(|topic| topic.as_bytes()).collect();
    let event = EventRef {
        topics: &topics,
        private: update.private,
        event: update.event.as_deref().map(str::as_bytes),
        id: update.id.as_deref().map(str::as_bytes),
        retry: update.retry,
        data: update.data.as_bytes(),
        ..EventRef::default()
    };
    assert!(event.check().is_ok(), "{update:?}");
    let retry = update.retry.map(|retry| retry.to_string());
    let fields = [
        ("id", &update.id),
        ("type", &update.event),
        ("retry", &retry),
    ];
    let mut again = format!(
        "data={}",
        utf8_percent_encode(&update.data, NON_ALPHANUMERIC)
    );
    let topics = update.topics.iter().map(|topic| ("topic", topic));
    let fields = fields
        .into_iter()
        .filter_map(|(name, text)| Some((name, text.as_ref()?)));
    for (name, text) in topics.chain(fields) {
        again += &format!("&{name}={}", utf8_percent_encode(text, NON_ALPHANUMERIC));
    }
    if update.private {
        again += "&private";
    }
    assert_eq!(publish::parse(again.as_bytes(), &hub, MOST), Ok(update));
});

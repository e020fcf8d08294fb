//! Any query of a Mercure hub's subscriber, and any header Last-Event-ID (the first line): refused with one line, or
//! matchers within the bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::mercure::hub_url::HubUrl;
use protocol::mercure::id::After;
use protocol::mercure::subscribe::{Rules, Subscribe, token};
use protocol::mercure::{MAX_MATCHERS, MAX_PATTERN};

fuzz_target!(|data: &[u8]| {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (header, query) = data.split_at(at);
    let Ok(query) = std::str::from_utf8(query) else {
        return;
    };
    let hub = HubUrl::standard();
    let _ = token(query);
    for legacy in [false, true] {
        let rules = Rules {
            hub: &hub,
            legacy,
            matchers: MAX_MATCHERS,
        };
        let header = (!header.is_empty()).then_some(header);
        match Subscribe::parse(query, header, &rules) {
            Err(why) => assert!(!why.to_string().contains(['\n', '\r'])),
            Ok(asked) => {
                assert!((1..=MAX_MATCHERS).contains(&asked.matchers.len()));
                for matcher in &asked.matchers {
                    assert!(matcher.memory() <= matcher.text().len() + MAX_PATTERN);
                }
                if let Some(id) = &asked.last_event_id {
                    let _ = After::parse(id);
                }
            }
        }
    }
});

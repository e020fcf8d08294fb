//! Any texts as matchers and as topics: refused, or found by exactly the matchers that match them, whichever of these are
//! known. A line each: `e`, `u` or `t` and a matcher of that kind, `-` takes the last one back, anything else is a topic.
#![no_main]

use std::sync::Arc;

use askrd::hub::channel_index::{Bounds, ChannelIndex};
use askrd::hub::topics::{Limits, Matched, Topics};
use askrd::process::client_key::ClientKey;
use libfuzzer_sys::fuzz_target;
use protocol::mercure::hub_url::HubUrl;
use protocol::mercure::matcher::{Kind, Matcher};
use protocol::mercure::topic::Topic;
use shared::rules;

const PATTERNS: usize = 8;

fuzz_target!(|text: &str| {
    let hub = HubUrl::standard();
    let limits = Limits { patterns: PATTERNS, per_address: u32::MAX, grants: usize::MAX };
    let topics = Arc::new(Topics::new(hub.clone(), limits, 16));
    let index = ChannelIndex::new(Bounds { entries: 16, channels: 16, marks: 16 }, 1);
    let mut held: Vec<(Matcher, Matched)> = Vec::new();
    let mut seq = 0;
    for line in text.lines().take(64) {
        let kind = match line.as_bytes().first() {
            Some(b'e') => Kind::Exact,
            Some(b'u') => Kind::UrlPattern,
            Some(b't') => Kind::Topic,
            Some(b'-') => {
                held.pop();
                continue;
            }
            _ => {
                if rules::topic(line.as_bytes()).is_err() {
                    continue;
                }
                let known = topics.known();
                let names = known.names(std::iter::once(line));
                let topic = Topic::new(line, &hub);
                for (matcher, matched) in &held {
                    let is_found = names.iter().any(|name| **name == *matched.names[0]);
                    assert_eq!(is_found, matcher.matches(&topic), "{matcher:?} {line:?}");
                }
                seq += 1;
                index.push(seq, names.iter().map(|name| &**name), None, 0);
                continue;
            }
        };
        let Ok(matcher) = Matcher::parse(kind, &line[1..], &hub) else {
            continue;
        };
        if let Ok(matched) = topics.subscribe(&index, ClientKey::NONE, [matcher.clone()]) {
            assert_eq!(matched.names.len(), 1);
            held.push((matcher, matched));
        }
        assert!(topics.patterns() <= PATTERNS);
    }
});

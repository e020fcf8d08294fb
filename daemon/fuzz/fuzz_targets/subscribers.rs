//! Any bytes as the note of active subscriptions: not believed, or subscribers of known kinds, each once, and the same if
//! they are noted again.
#![no_main]

use std::collections::HashSet;

use askrd::hub::active_note::{Noted, kind, parse};
use libfuzzer_sys::fuzz_target;

fn text(all: &[Noted]) -> String {
    let lines = all
        .iter()
        .map(|one| format!("+{}\n", serde_json::to_string(one).expect("strings")));
    format!("askr subscribers 1\n{}", lines.collect::<String>())
}

fuzz_target!(|data: &[u8]| {
    let Some(all) = parse(data) else {
        return;
    };
    let names: HashSet<&str> = all.iter().map(|one| one.subscriber.as_str()).collect();
    assert_eq!(names.len(), all.len());
    assert!(
        all.iter()
            .flat_map(|one| &one.matchers)
            .all(|(name, ..)| kind(name).is_some())
    );
    assert_eq!(parse(text(&all).as_bytes()), Some(all));
});

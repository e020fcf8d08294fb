//! Any text as an entry of `allowed_origins` (the first line) and as an `Origin` header (the second): what a pattern
//! matches is an origin of a host below the pattern's own, and nothing else.
#![no_main]

use askrd::config::origin::allowed;
use askrd::config::{Allowed, AllowedOrigin};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (entry, origin) = text.split_once('\n').unwrap_or((text, ""));
    // What the log advises for a refused origin allows it.
    if let Some(advised) = AllowedOrigin::of(origin) {
        assert!(allowed(&[advised], origin).is_some());
    }
    let Ok(parsed) = entry.parse::<AllowedOrigin>() else {
        return;
    };
    assert_eq!(parsed.to_string(), entry);
    let by = allowed(std::slice::from_ref(&parsed), origin);
    let expected = match parsed {
        AllowedOrigin::Exact(_) => Allowed::Exactly,
        _ => Allowed::ByPattern,
    };
    let Some(by) = by else {
        return;
    };
    assert_eq!(by, expected);
    match parsed {
        AllowedOrigin::Exact(_) => assert_eq!(origin, entry),
        AllowedOrigin::Null => assert!(["null", "file://"].contains(&origin)),
        AllowedOrigin::Any => assert!(origin != "null" && origin.contains("://")),
        AllowedOrigin::Subdomains { .. } => {
            let (scheme, parent) = entry.split_once("://*.").expect("the form of a pattern");
            let (own, authority) = origin.split_once("://").expect("an origin");
            assert_eq!(own, scheme);
            // What a browser or a server would cut off is nowhere.
            assert!(!authority.contains(['/', '\\', '@', '?', '#', '%', '[', ' ']));
            let port = |text: &str| text.split_once(':').map(|(_, port)| port.to_owned());
            assert_eq!(port(authority), port(parent));
            let host = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
            let (host, parent) = (host(authority), host(parent));
            let mut labels = host.rsplit('.');
            assert!(parent.rsplit('.').all(|label| labels.next() == Some(label)));
            assert!(labels.next().is_some_and(|label| !label.is_empty()));
            assert!(labels.all(|label| !label.is_empty()));
        }
    }
});

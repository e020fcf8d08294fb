//! Any text as a topic, an id or a type of an update: what is taken may be published, is seen as what it is, and is not the
//! hub's own, however it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::mercure::hub_url::HubUrl;
use shared::mercure::update;
use shared::rules;

fuzz_target!(|text: &str| {
    let hub = HubUrl::standard();
    let hidden = text.chars().any(|c| c.is_control() || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{feff}'));
    if update::topic(text, &hub).is_ok() {
        assert_eq!(rules::topic(text.as_bytes()), Ok(()));
        assert!(!hidden && text != "*");
        let place = hub.resolve(text).map(|url| url.path().to_owned()).unwrap_or_default();
        assert!(place != hub.path() && !place.starts_with("/.well-known/mercure/"), "{text:?}");
    }
    if update::id(text).is_ok() {
        assert_eq!(rules::id(text.as_bytes()), Ok(()));
        assert!(!hidden && !text.starts_with('#') && text != update::EARLIEST);
    }
    if update::event(text).is_ok() {
        assert_eq!(rules::event(text.as_bytes()), Ok(()));
        assert!(!hidden && text != update::OWN_TYPE);
    }
    if let Ok(other) = HubUrl::at_path(text) {
        assert!(other.is_own(other.path()) && other.is_own(other.as_str()), "{text:?}");
    }
});

//! A topic that matchers are tried on. What it is as a URL is worked out once, when the first URL pattern asks for it.

use std::sync::OnceLock;

use super::hub_url::HubUrl;

/// A topic of an event.
#[derive(Debug)]
pub struct Topic<'a> {
    text: &'a str,
    hub: &'a HubUrl,
    /// None: it is not a URL.
    parts: OnceLock<Option<UrlParts>>,
}

/// The parts of a URL that a URL pattern matches one by one, normalized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlParts {
    pub(super) all: [String; PARTS],
    /// See [`Topic::place`].
    place: String,
}

/// Scheme, host, port, path, query, fragment, user, password: the first four in the order of a [`place`](Topic::place).
pub(super) const PARTS: usize = 8;

impl<'a> Topic<'a> {
    pub fn new(text: &'a str, hub: &'a HubUrl) -> Self {
        Self {
            text,
            hub,
            parts: OnceLock::new(),
        }
    }

    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The topic as a URL: scheme, host, port and path, written so that a URL pattern's literal prefix is a prefix of
    /// it. None: it is not a URL, and no URL pattern matches it.
    pub fn place(&self) -> Option<&str> {
        self.parts().map(|parts| parts.place.as_str())
    }

    pub(super) fn parts(&self) -> Option<&UrlParts> {
        let parts = || self.hub.resolve(self.text).map(|url| UrlParts::of(&url));
        self.parts.get_or_init(parts).as_ref()
    }
}

impl UrlParts {
    fn of(url: &url::Url) -> Self {
        use url::quirks;
        let all = [
            url.scheme(),
            url.host_str().unwrap_or_default(),
            quirks::port(url),
            url.path(),
            url.query().unwrap_or_default(),
            url.fragment().unwrap_or_default(),
            url.username(),
            url.password().unwrap_or_default(),
        ]
        .map(str::to_owned);
        let mut place = String::new();
        for (part, end) in all.iter().zip(ENDS) {
            place.push_str(part);
            place.push_str(end);
        }
        Self { all, place }
    }
}

/// What follows each part of a place.
pub(super) const ENDS: [&str; 4] = ["://", ":", "", ""];

//! The hub's own URL: what relative topics and patterns are resolved against, and where its own topics are.

use percent_encoding::percent_decode_str;
use url::Url;

/// The path that is registered for hubs.
pub const STANDARD_PATH: &str = "/.well-known/mercure";

/// The public URL of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubUrl {
    url: Url,
    /// Of the path, without escapes that it could do without.
    last_segment: Box<str>,
}

/// What a hub's URL has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be http:// or https://, a host and a path, without user, query or fragment")]
pub struct NoHubUrl;

impl HubUrl {
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, NoHubUrl> {
        let url = Url::parse(text).map_err(|_| NoHubUrl)?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        // A path that begins with two would name a host where it is a reference.
        let slashes = url.path().starts_with("//") || url.path().ends_with('/');
        let has_path = url.path().len() > 1 && !slashes;
        match matches!(url.scheme(), "http" | "https") && bare && has_path {
            true => {
                let path = decode_unreserved(url.path());
                let last_segment = path.rsplit('/').next().unwrap_or_default().into();
                Ok(Self { url, last_segment })
            }
            false => Err(NoHubUrl),
        }
    }

    /// At the path that is registered for hubs, of no host in particular.
    ///
    /// # Panics
    /// Never: it is a URL.
    pub fn standard() -> Self {
        Self::at_path(STANDARD_PATH).expect("a path")
    }

    /// At this path, of no host in particular: the host has no part in which topics are the hub's own.
    ///
    /// # Errors
    /// If it is no path of a hub.
    pub fn at_path(path: &str) -> Result<Self, NoHubUrl> {
        let url = ["http://localhost", path].concat();
        match path.starts_with('/') && !path.starts_with("//") {
            true => Self::parse(&url),
            false => Err(NoHubUrl),
        }
    }

    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The path, which begins with a slash.
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// `scheme://host[:port]`.
    pub fn origin(&self) -> &str {
        &self.url[..url::Position::BeforePath]
    }

    /// `text` as a URL, relative to this one. None: it is not a URL.
    pub fn resolve(&self, text: &str) -> Option<Url> {
        self.url.join(text).ok()
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether a topic is the hub's own path or below, on whatever host: what only the hub itself publishes to.
    pub fn is_own(&self, topic: &str) -> bool {
        !self.is_clearly_elsewhere(topic) && self.leads_here(topic)
    }

    /// Whether a topic has a path, or names a host, and its path cannot end as this one does: most topics are told apart
    /// without being taken apart.
    fn is_clearly_elsewhere(&self, topic: &str) -> bool {
        let plain = |ok: bool, b: &u8| ok & (*b > b' ' && *b != b'%');
        // Where it has an escape, what is escaped in a topic may be the same.
        let ends_alike = self.last_segment.contains('%') || topic.contains(&*self.last_segment);
        if ends_alike || !topic.bytes().fold(true, |ok, b| plain(ok, &b)) {
            return false;
        }
        match topic.split_once(':') {
            Some((scheme, rest)) => {
                let mut scheme = scheme.bytes();
                scheme.next().is_some_and(|b| b.is_ascii_alphabetic())
                    && scheme.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                    && rest.starts_with("//")
            }
            None => !topic.is_empty() && !topic.starts_with(['?', '#']),
        }
    }

    fn leads_here(&self, topic: &str) -> bool {
        let Some(url) = self.resolve(topic) else {
            return false;
        };
        let (path, own) = (
            decode_unreserved(url.path()),
            decode_unreserved(self.path()),
        );
        path.strip_prefix(&own)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A path whose escapes of unreserved characters are decoded: they mean the same (RFC 3986, section 6.2.2.2).
fn decode_unreserved(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let escape = rest.get(at..at + 3).unwrap_or(&rest[at..]);
        let byte = percent_decode_str(escape).next().unwrap_or(b'%');
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(escape),
        }
        rest = &rest[at + escape.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hub() -> HubUrl {
        HubUrl::parse("https://example.com/.well-known/mercure").unwrap()
    }

    #[test]
    fn a_hub_is_at_a_path_of_a_host() {
        for text in [
            "https://example.com/.well-known/mercure",
            "http://localhost:8080/hub",
        ] {
            let hub = HubUrl::parse(text).unwrap();
            assert_eq!(hub.as_str(), text);
        }
        for text in [
            "",
            "/.well-known/mercure",
            "https://example.com",
            "https://example.com/",
            "https://example.com/hub/",
            "https://example.com//hub",
            "https://example.com/.//hub",
            "https://u@example.com/hub",
            "https://example.com/hub?x",
            "https://example.com/hub#x",
            "ftp://example.com/hub",
            "urn:x",
        ] {
            assert_eq!(HubUrl::parse(text), Err(NoHubUrl), "{text}");
        }
        assert_eq!(hub().path(), "/.well-known/mercure");
        assert_eq!(hub().origin(), "https://example.com");
    }

    #[test]
    fn the_hub_s_own_topics_are_found_however_they_are_written() {
        for own in [
            "",
            "?x",
            "#x",
            "mercure",
            "mercure/x",
            "./mercure/subscriptions",
            "/.well-known/mercure",
            "/.well-known/mercure/subscriptions/exact/a/b",
            "/.well-known/%6dercure/x",
            "/.well-known/%6Dercure",
            "/%2ewell-known/mercure",
            "/.well-known/x/../mercure/y",
            "/.well-known/x/%2e%2E/mercure/y",
            "\\.well-known\\mercure",
            "https://other.example/.well-known/mercure/x",
            "https://other.example/.well-known/mercure?x",
            "//other.example/.well-known/mercure",
            "foo:/.well-known/mercure/x",
            "foo://h/.well-known/mercure",
            "mercure/",
        ] {
            assert!(hub().is_own(own), "{own}");
        }
        for other in [
            "urn:x:mercure",
            "foo",
            "mercure2",
            "/",
            "/.well-known",
            "/.well-known/mercurex",
            "/.well-known/mercure%2fx",
            "/.well-known/MERCURE",
            "https://example.com/books/1",
            "https://example.com/?.well-known/mercure",
            "http://[",
            "/.well-known/%256dercure",
        ] {
            assert!(!hub().is_own(other), "{other}");
        }
        let hub = HubUrl::parse("https://example.com/é").unwrap();
        assert!(hub.is_own("é") && hub.is_own("/%C3%A9/x") && !hub.is_own("e"));
    }

    proptest! {
        #[test]
        fn each_escape_of_an_unreserved_character_is_the_character(
            at in prop::sample::select((0..".well-known/mercure".len()).filter(|at| *at != 11).collect::<Vec<_>>()),
            rest in "[/?#][a-z/]{0,9}",
        ) {
            let path = ".well-known/mercure";
            let byte = path.as_bytes()[at];
            let topic = format!("/{}%{byte:02x}{}{rest}", &path[..at], &path[at + 1..]);
            prop_assert!(hub().is_own(&topic), "{}", topic);
        }

        #[test]
        fn what_is_told_apart_at_a_glance_is_right(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("mercure"), Just("/"), Just(".well-known"), Just("?"), Just("#"), Just(":"), Just("https"),
                    Just("//"), Just(".."), Just("."), Just("a"), Just("\\"), Just(" "), Just("\t"), Just("%6d"), Just("merc"),
                    Just("ure"), Just("é"), Just("@"), Just("["),
                ],
                0..9,
            ),
        ) {
            let topic = parts.concat();
            prop_assert_eq!(hub().is_own(&topic), hub().leads_here(&topic), "{}", topic);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            prop_assert_eq!(hub().is_own(&text), hub().leads_here(&text), "{}", text);
        }
    }
}

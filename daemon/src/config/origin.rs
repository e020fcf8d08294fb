//! Origins that a setting allows: exact ones, whose pages count as this site's own, and patterns, whose pages listen
//! without credentials.
//!
//! | entry | matches |
//! |---|---|
//! | `https://example.com:8443` | this origin alone |
//! | `https://*.example.com` | one label or more before `.example.com`, not `https://example.com` itself |
//! | `*` | every origin but the next |
//! | `null` | pages from files and sandboxed frames: `null`, and `file://` where files may read one another |
//!
//! The scheme and the port are part of each: an entry without a port matches an origin without one, which is on its
//! scheme's own port.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The most bytes of a host's name (RFC 1035, section 2.3.4), and of one label.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// A page without an origin, and a page from a file.
const NULL: &str = "null";
const FILE: &str = "file://";

/// An entry of `allowed_origins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    Exact(String),
    Any,
    Null,
    /// `before` is `https://`, `after` begins with a dot: `.example.com:8443`.
    Subdomains {
        before: String,
        after: String,
    },
}

/// By what an origin is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    Exactly,
    ByPattern,
}

/// By which of these entries `origin` is allowed; one that is exact counts before every pattern.
pub fn allowed(entries: &[AllowedOrigin], origin: &str) -> Option<Allowed> {
    let exact = |entry: &AllowedOrigin| matches!(entry, AllowedOrigin::Exact(own) if own == origin);
    if entries.iter().any(exact) {
        return Some(Allowed::Exactly);
    }
    let matches = entries.iter().any(|entry| entry.matches(origin));
    matches.then_some(Allowed::ByPattern)
}

impl AllowedOrigin {
    /// The entry that allows this origin, and no pattern for more. None: it is no origin.
    pub fn of(origin: &str) -> Option<Self> {
        match origin {
            FILE => Some(Self::Null),
            _ => origin.parse().ok().filter(|own: &Self| own.matches(origin)),
        }
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Exact(own) => own == origin,
            Self::Any => is_origin(origin),
            Self::Null => origin == NULL || origin == FILE,
            Self::Subdomains { before, after } => origin
                .strip_prefix(before.as_str())
                .and_then(|rest| rest.strip_suffix(after.as_str()))
                .is_some_and(|labels| labels.len() + after.len() <= MAX_HOST && is_name(labels)),
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "*" => return Ok(Self::Any),
            NULL => return Ok(Self::Null),
            _ => {}
        }
        if !text.contains('*') {
            let exact = is_origin(text) && text.to_ascii_lowercase() == text;
            return exact.then(|| Self::Exact(text.to_owned())).ok_or_else(|| {
                format!(
                    "\"{text}\" must be an origin as a browser sends it, such as \"https://example.com\", \
                     or a pattern: \"https://*.example.com\", \"*\", \"null\""
                )
            });
        }
        subdomains(text).ok_or_else(|| {
            format!(
                "\"{text}\" must be \"*\" alone, or have one \"*.\" between scheme and name, such as \
                 \"https://*.example.com\", in lower case, with a port only if it is not the scheme's own"
            )
        })
    }
}

/// None: `pattern` is not one.
fn subdomains(pattern: &str) -> Option<AllowedOrigin> {
    let (before, after) = pattern.split_once('*')?;
    let scheme = before.strip_suffix("://")?;
    let parent = after.strip_prefix('.')?;
    let (name, port) = match parent.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (parent, None),
    };
    let own_port = match scheme {
        "http" | "ws" => "80",
        "https" | "wss" => "443",
        _ => "",
    };
    let port_fits = port.is_none_or(|port| is_port(port) && port != own_port);
    // Where the last label is a number it is an address, which has no subdomains.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_address = last.bytes().all(|b| b.is_ascii_digit());
    let sound = is_scheme(scheme) && is_name(name) && !is_address && port_fits;
    sound.then(|| AllowedOrigin::Subdomains {
        before: before.to_owned(),
        after: after.to_owned(),
    })
}

/// Whether `text` is an origin with a scheme and a host, and nothing besides but a port: no user, no path. Hosts are
/// names and addresses, and with schemes of applications whatever they call themselves.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let plain = |b: u8| b.is_ascii_graphic() && !b"/@?#*\\\"'<>`".contains(&b);
    is_scheme(scheme) && !host.is_empty() && host.bytes().all(plain)
}

fn is_scheme(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    text.bytes().next().is_some_and(|b| b.is_ascii_lowercase()) && text.bytes().all(plain)
}

/// One label or more, with a dot between them.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    let label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(plain);
    text.len() <= MAX_HOST && text.split('.').all(label)
}

fn is_port(text: &str) -> bool {
    !text.starts_with('0')
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.parse::<u16>().is_ok()
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(origin) => f.write_str(origin),
            Self::Any => f.write_str("*"),
            Self::Null => f.write_str(NULL),
            Self::Subdomains { before, after } => write!(f, "{before}*{after}"),
        }
    }
}

impl Serialize for AllowedOrigin {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AllowedOrigin {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(texts: &[&str]) -> Vec<AllowedOrigin> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn matches(entry: &str, origin: &str) -> bool {
        allowed(&entries(&[entry]), origin).is_some()
    }

    #[test]
    fn subdomains_are_one_label_or_more_under_the_same_scheme_and_port() {
        let pattern = "https://*.example.com";
        for origin in [
            "https://a.example.com",
            "https://a.b-1.example.com",
            "https://_x.example.com",
            "https://xn--bcher-kva.example.com",
            "https://example.com.example.com",
            "https://127.0.0.1.example.com",
        ] {
            assert!(matches(pattern, origin), "{origin}");
        }
        let long = format!("https://{}.example.com", ["a"; 122].join("."));
        assert!(!matches(pattern, &long), "a name of 255 bytes");
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://a..example.com",
            "https://evilexample.com",
            "https://example.com.evil.com",
            "https://a.example.com.evil.com",
            "https://a.example.com.",
            "https://evil.com/a.example.com",
            "https://evil.com/.example.com",
            "https://evil.com?.example.com",
            "https://evil.com#.example.com",
            "https://evil.com\\.example.com",
            "https://user@a.example.com",
            "https://user:pw@a.example.com",
            "https://evil.com:80.example.com",
            "https://a.example.com:443",
            "https://a.example.com:8443",
            "https://a.example.com@evil.com",
            "https://[::1].example.com",
            "https://%61.example.com",
            "https://a b.example.com",
            "https://*.example.com",
            "https://A.example.com",
            "HTTPS://a.example.com",
            "http://a.example.com",
            "xhttps://a.example.com",
            "a.example.com",
            "null",
            "",
        ] {
            assert!(!matches(pattern, origin), "{origin}");
        }
        let pattern = "http://*.localhost:5173";
        assert!(matches(pattern, "http://shop.localhost:5173"));
        for origin in [
            "http://shop.localhost",
            "http://shop.localhost:51730",
            "http://shop.localhost:05173",
            "http://localhost:5173",
        ] {
            assert!(!matches(pattern, origin), "{origin}");
        }
    }

    #[test]
    fn an_origin_that_is_listed_exactly_counts_so_whatever_else_matches() {
        let all = entries(&["*", "https://*.a.example", "https://x.a.example", "null"]);
        for (origin, by) in [
            ("https://x.a.example", Some(Allowed::Exactly)),
            ("https://y.a.example", Some(Allowed::ByPattern)),
            ("https://b.example", Some(Allowed::ByPattern)),
            ("null", Some(Allowed::ByPattern)),
            ("", None),
        ] {
            assert_eq!(allowed(&all, origin), by, "{origin}");
        }
        assert!(!matches("*", "null") && !matches("https://a.example", "null"));
    }

    #[test]
    fn pages_from_files_are_null_under_either_name() {
        for origin in ["null", "file://"] {
            let by = |texts: &[&str]| allowed(&entries(texts), origin);
            assert_eq!(by(&["null"]), Some(Allowed::ByPattern), "{origin}");
            assert_eq!(by(&["*", "https://*.a.example"]), None, "{origin}");
        }
        assert!(!matches("null", "file:///") && !matches("null", "file://host"));
    }

    #[test]
    fn the_entry_for_an_origin_allows_it_and_is_no_wider_pattern() {
        for (origin, entry) in [
            ("https://a.example:8443", Some("https://a.example:8443")),
            ("capacitor://localhost", Some("capacitor://localhost")),
            ("null", Some("null")),
            ("file://", Some("null")),
            ("*", None),
            ("https://*.example", None),
            ("HTTPS://a.example", None),
            ("https://a.example/", None),
            ("", None),
        ] {
            let found = AllowedOrigin::of(origin).map(|entry| entry.to_string());
            assert_eq!(found.as_deref(), entry, "{origin}");
        }
    }

    proptest! {
        /// Origins that are mostly near a pattern: its scheme, its name, and what may be put around them. Compared
        /// with a reading of their own: cut at the first of what ends a host, then by labels from the end.
        #[test]
        fn subdomains_match_what_a_reader_of_hosts_says(
            scheme in "https|https|https|http|xhttps",
            user in "|||||u@|u:p@|example.com@",
            host in "([a-z0-9_-]{0,3}[.]){0,3}(example[.]com|evilexample[.]com|com|example)([.]evil[.]com)?[.]?",
            port in "|||||:443|:8443|:80",
            path in "|||||/|/x|[?]x|#x|/[.]example[.]com|[\\\\]x[.]example[.]com",
        ) {
            let origin = format!("{scheme}://{user}{host}{port}{path}");
            let bare = user.is_empty() && port.is_empty() && path.is_empty();
            let mut labels: Vec<&str> = host.split('.').collect();
            let ends = labels.pop() == Some("com") && labels.pop() == Some("example");
            let more = !labels.is_empty() && labels.iter().all(|label| !label.is_empty());
            let expected = scheme == "https" && bare && ends && more;
            prop_assert_eq!(matches("https://*.example.com", &origin), expected, "{}", origin);
        }

        #[test]
        fn nothing_is_matched_but_what_an_entry_says(text in "\\PC{0,40}", entry in entry()) {
            let entry: AllowedOrigin = entry.parse().unwrap();
            let others = text == "null" || text == "file://" || text.split_once("://").is_none();
            prop_assert!(!others || !entry.matches(&text) || entry == AllowedOrigin::Null);
        }

        #[test]
        fn an_entry_reads_as_it_is_written(text in "(https?|[a-z+]{0,3})(://)?[*]?[.]?[a-z0-9.*:@/-]{0,20}") {
            if let Ok(entry) = text.parse::<AllowedOrigin>() {
                prop_assert_eq!(entry.to_string(), text);
            }
        }
    }

    fn entry() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("*".to_owned()),
            "https://[*][.][a-z]{1,3}[.]example",
            "https://[a-z]{1,3}[.]example",
        ]
    }
}

//! Which pages may send requests: those of this site, and those of allowed origins. What a browser adds to a request by
//! itself (cookies, a password that it remembers) counts for this site's pages and for those of exact origins only.

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue, ORIGIN};

use crate::config::origin::allowed;
use crate::config::{Allowed, AllowedOrigin};

/// Where a request comes from, by its Origin header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This site; or none was sent, as EventSource on its own site and programs do.
    Own,
    /// An allowed origin, which responses must repeat.
    Listed(HeaderValue),
    /// An origin that only a pattern matches: responses allow every page to read them, without credentials.
    Pattern,
    /// Any other.
    Foreign,
}

/// The origin of a request with these headers.
pub fn origin(headers: &HeaderMap, entries: &[AllowedOrigin]) -> Origin {
    let mut all = headers.get_all(ORIGIN).iter();
    let (origin, more) = (all.next(), all.next());
    let Some(origin) = origin else {
        return Origin::Own;
    };
    if more.is_some() {
        return Origin::Foreign;
    }
    let text = origin.to_str().unwrap_or_default();
    let by = allowed(entries, text);
    if by == Some(Allowed::Exactly) {
        return Origin::Listed(origin.clone());
    }
    // A page cannot set this header, and it is right even behind a proxy that changes the host.
    let site = headers.get("sec-fetch-site");
    let same_origin = site.is_some_and(|site| site == "same-origin");
    // Where the browser says that the page is another origin's, it needs the permission of the pattern to read.
    let other_origin = site.is_some() && !same_origin;
    let own = same_origin || is_of_host(headers, text);
    match by {
        Some(_) if other_origin || !own => Origin::Pattern,
        _ if own => Origin::Own,
        _ => Origin::Foreign,
    }
}

/// Whether an origin names the host that the request was sent to. The scheme may differ: TLS often ends at a proxy.
fn is_of_host(headers: &HeaderMap, origin: &str) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match (host, origin.split_once("://")) {
        (Some(host), Some((_, name))) => {
            without_port(host).eq_ignore_ascii_case(without_port(name))
        }
        _ => false,
    }
}

/// Without a default port, which browsers leave out and proxies may add.
fn without_port(authority: &str) -> &str {
    let bare = authority
        .strip_suffix(":80")
        .or_else(|| authority.strip_suffix(":443"));
    bare.unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_of(pairs: &[(&'static str, &str)], allowed: &[&str]) -> Origin {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        origin(
            &headers,
            &allowed
                .iter()
                .map(|entry| entry.parse().unwrap())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_own_origin_is_the_host_whatever_the_scheme() {
        for (host, origin) in [
            ("a.example", "http://a.example"),
            ("a.example", "https://a.example"),
            ("A.example:443", "https://a.example"),
            ("a.example:8080", "http://a.example:8080"),
        ] {
            assert_eq!(
                origin_of(&[("host", host), ("origin", origin)], &[]),
                Origin::Own,
                "{origin}"
            );
        }
        assert_eq!(
            origin_of(&[("host", "a.example")], &[]),
            Origin::Own,
            "none sent"
        );
        let renamed = [
            ("host", "inner"),
            ("origin", "https://a.example"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(origin_of(&renamed, &[]), Origin::Own);
    }

    #[test]
    fn others_must_be_listed_exactly() {
        let allowed = ["https://app.example"];
        let judge =
            |origin: &str| origin_of(&[("host", "a.example"), ("origin", origin)], &allowed);
        assert!(matches!(judge("https://app.example"), Origin::Listed(_)));
        for foreign in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://evil.example",
            "http://a.example:81",
            "null",
            "",
        ] {
            assert_eq!(judge(foreign), Origin::Foreign, "{foreign}");
        }
    }

    #[test]
    fn the_own_origin_is_no_pattern_s_unless_the_browser_says_that_it_is_another() {
        let judge = |site: Option<&'static str>| {
            let mut pairs = vec![("host", "a.example"), ("origin", "http://a.example")];
            pairs.extend(site.map(|site| ("sec-fetch-site", site)));
            origin_of(&pairs, &["*"])
        };
        assert_eq!(judge(None), Origin::Own);
        assert_eq!(judge(Some("same-origin")), Origin::Own);
        // The page is not encrypted, and askrd is behind TLS.
        assert_eq!(judge(Some("cross-site")), Origin::Pattern);
    }
}

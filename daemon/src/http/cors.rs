//! Which pages may send requests: those of this site, and those of allowed origins.

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue, ORIGIN};

/// Where a request comes from, by its Origin header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This site; or none was sent, as EventSource on its own site and programs do.
    Own,
    /// An allowed origin, which responses must repeat.
    Listed(HeaderValue),
    /// Any other.
    Foreign,
}

/// The origin of a request with these headers. `allowed`: as browsers write origins.
pub fn origin(headers: &HeaderMap, allowed: &[String]) -> Origin {
    let mut all = headers.get_all(ORIGIN).iter();
    let (origin, more) = (all.next(), all.next());
    let Some(origin) = origin else {
        return Origin::Own;
    };
    if more.is_some() {
        return Origin::Foreign;
    }
    if allowed
        .iter()
        .any(|listed| listed.as_bytes() == origin.as_bytes())
    {
        return Origin::Listed(origin.clone());
    }
    // A page cannot set this header, and it is right even behind a proxy that changes the host.
    let same_origin = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "same-origin");
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let name = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    let same_host = match (host, name) {
        // The scheme may differ: TLS often ends at a proxy.
        (Some(host), Some((_, name))) => {
            without_port(host).eq_ignore_ascii_case(without_port(name))
        }
        _ => false,
    };
    if same_host || same_origin {
        Origin::Own
    } else {
        Origin::Foreign
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
            &allowed.iter().map(|s| s.to_string()).collect::<Vec<_>>(),
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
}

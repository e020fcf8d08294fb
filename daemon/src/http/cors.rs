//! Which pages may ask: those of this site, and those of listed origins.

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue, ORIGIN};

/// What a request's Origin header means here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// None was sent, as EventSource does on its own site and as programs do; or this site's own.
    Own,
    /// One of the allowed; answers must repeat it.
    Listed(HeaderValue),
    Foreign,
}

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
    // A page cannot set this header; a proxy that renames the host does not hide the truth.
    let said_so = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "same-origin");
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let name = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    let same = match (host, name) {
        // The scheme may differ: TLS often ends at a proxy.
        (Some(host), Some((_, name))) => plain(host).eq_ignore_ascii_case(plain(name)),
        _ => false,
    };
    if same || said_so {
        Origin::Own
    } else {
        Origin::Foreign
    }
}

/// Without a default port, which browsers leave out and proxies may put in.
fn plain(authority: &str) -> &str {
    let bare = authority
        .strip_suffix(":80")
        .or_else(|| authority.strip_suffix(":443"));
    bare.unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(pairs: &[(&'static str, &str)], allowed: &[&str]) -> Origin {
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
                judge(&[("host", host), ("origin", origin)], &[]),
                Origin::Own,
                "{origin}"
            );
        }
        assert_eq!(
            judge(&[("host", "a.example")], &[]),
            Origin::Own,
            "none sent"
        );
        let renamed = [
            ("host", "inner"),
            ("origin", "https://a.example"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(judge(&renamed, &[]), Origin::Own);
    }

    #[test]
    fn others_must_be_listed_exactly() {
        let allowed = ["https://app.example"];
        let judge = |origin: &str| judge(&[("host", "a.example"), ("origin", origin)], &allowed);
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

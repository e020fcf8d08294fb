//! By which name a request leads here. A page of others can have a name of its own lead to any address (DNS rebinding), and its
//! requests have that name as `Host`; it cannot have an address or `localhost` there.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header::{HOST, HeaderMap};

/// Whether it is an address or `localhost`, so that no page of others has asked.
pub fn is_no_name(headers: &HeaderMap) -> bool {
    let Some((name, _)) = host(headers) else {
        return false;
    };
    let v6 = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let is_v6 = v6.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok());
    is_v6 || name == "localhost" || name.parse::<Ipv4Addr>().is_ok()
}

/// The port that the browser knows; none, if it is the scheme's own.
pub fn port(headers: &HeaderMap) -> Option<u16> {
    host(headers)?.1?.parse().ok()
}

/// Name and port.
fn host(headers: &HeaderMap) -> Option<(&str, Option<&str>)> {
    let host = headers.get(HOST)?.to_str().ok()?;
    Some(match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> HeaderMap {
        [(HOST, host.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn addresses_and_localhost_are_nobodys_name() {
        for host in [
            "localhost",
            "localhost:8091",
            "127.0.0.1:8091",
            "192.0.2.1",
            "[::1]:8091",
            "[2001:db8::1]",
        ] {
            assert!(is_no_name(&of(host)), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8091",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "127.0.0.1@evil.example",
            "127.1",
            "[evil.example]",
            "::1",
        ] {
            assert!(!is_no_name(&of(host)), "{host}");
        }
        assert!(!is_no_name(&HeaderMap::new()));
    }

    #[test]
    fn the_port_is_that_of_the_browser() {
        let port = |host| port(&of(host));
        assert_eq!(port("a.example:8443"), Some(8443));
        assert_eq!(port("[::1]:8091"), Some(8091));
        for none in ["a.example", "[::1]", "a.example:", "a.example:x", "a:70000"] {
            assert_eq!(port(none), None, "{none}");
        }
        assert_eq!(super::port(&HeaderMap::new()), None);
    }
}

//! `GET /app/{key}?protocol=7&client=js&version=8.4.0`: a client's connection request. Pure.
//!
//! Errors are reported after the handshake, by `pusher:error` and a close frame with the code: a browser's
//! client cannot read why a handshake was refused.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::code;
use crate::query;

const PATH: &str = "/app/";
/// The most bytes of a key. Pusher's have 20.
const MAX_KEY: usize = 128;
/// Versions of the protocol. Since 5 only the way in which clients interpret close codes has changed.
const OLDEST: u32 = 5;
const NEWEST: u32 = 7;

/// The parameters of a connection request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect {
    /// The protocol's version, 5 to 7; 7 if none is named.
    pub protocol: u32,
    /// Whether messages carry a cursor: `askr=1`.
    pub recovery: bool,
}

/// The error to report, and the code to close the connection with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub code: u16,
    pub reason: Cow<'static, str>,
}

impl Refused {
    /// No application has the key of the path.
    pub const NO_SUCH_APP: Self = Self {
        code: code::NO_SUCH_APP,
        reason: Cow::Borrowed("there is no application with this key"),
    };
}

impl From<query::Malformed> for Refused {
    fn from(why: query::Malformed) -> Self {
        Self {
            code: code::OTHER,
            reason: why.to_string().into(),
        }
    }
}

/// The key in a request's path. None: this is not the path of an application. The key is not validated: one
/// that is invalid belongs to no application.
pub fn key(path: &str) -> Option<String> {
    let key = path.strip_prefix(PATH)?;
    let key = key.strip_suffix('/').unwrap_or(key);
    if key.is_empty() || key.len() > MAX_KEY || key.contains('/') {
        return None;
    }
    percent_decode_str(key).decode_utf8().ok().map(Into::into)
}

/// Parses the query of a connection request.
///
/// # Errors
/// 4006 and 4007, if the protocol's version is malformed or not supported; 4300, if the query cannot be decoded or
/// has a parameter twice.
pub fn parse(query: &str) -> Result<Connect, Refused> {
    let recovery = query::parameter(query, "askr")?;
    let version = query::parameter(query, "protocol")?.filter(|version| !version.is_empty());
    // Many a client that somebody wrote by hand for Reverb, which does not look, names none.
    let version = version.unwrap_or_else(|| NEWEST.to_string());
    let digits = version.bytes().all(|b| b.is_ascii_digit());
    let protocol = version.parse().ok().filter(|_| digits).ok_or(Refused {
        code: code::VERSION_MALFORMED,
        reason: "the protocol's version must be a number: protocol=7".into(),
    })?;
    if !(OLDEST..=NEWEST).contains(&protocol) {
        return Err(Refused {
            code: code::VERSION_UNSUPPORTED,
            reason: "the protocol's version must be 5, 6 or 7".into(),
        });
    }
    Ok(Connect {
        protocol,
        recovery: recovery.as_deref() == Some("1"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_in_the_path() {
        assert_eq!(
            key("/app/278d425bdf160c739803").as_deref(),
            Some("278d425bdf160c739803")
        );
        assert_eq!(key("/app/k%2D1/").as_deref(), Some("k-1"));
        for other in [
            "/app", "/app/", "/apps/x", "/app/a/b", "/app//", "/app/%ff", "/",
        ] {
            assert_eq!(key(other), None, "{other}");
        }
        assert_eq!(key(&format!("/app/{}", "x".repeat(129))), None);
    }

    #[test]
    fn queries_of_real_clients_are_accepted() {
        for (query, protocol, recovery) in [
            ("protocol=7&client=js&version=8.4.0&flash=false", 7, false),
            ("client=Pysher&version=1.0.8&protocol=6", 6, false),
            ("protocol=5", 5, false),
            ("protocol=7&askr=1", 7, true),
            ("protocol=7&askr=0", 7, false),
            ("", 7, false),
            ("client=js", 7, false),
            ("protocol=", 7, false),
            ("protocol&askr=1", 7, true),
        ] {
            assert_eq!(parse(query), Ok(Connect { protocol, recovery }), "{query}");
        }
    }

    #[test]
    fn versions_that_are_refused() {
        for (query, code) in [
            ("protocol=seven", 4006),
            ("protocol=+7", 4006),
            ("protocol=7.0", 4006),
            ("protocol=99999999999999", 4006),
            ("protocol=4", 4007),
            ("protocol=8", 4007),
        ] {
            assert_eq!(parse(query).map_err(|why| why.code), Err(code), "{query}");
        }
    }

    #[test]
    fn a_malformed_query_is_refused_by_the_parameters_name() {
        for (query, named) in [
            ("protocol=%ff", "protocol "),
            ("protocol=7&askr=%", "askr "),
            ("protocol=7&version=%zz", "version "),
            ("protocol=7&protocol=6", "protocol "),
        ] {
            let why = parse(query).unwrap_err();
            assert_eq!(why.code, code::OTHER, "{query}");
            assert!(why.reason.starts_with(named), "{query}: {}", why.reason);
        }
        let escaped = Connect {
            protocol: 7,
            recovery: true,
        };
        assert_eq!(parse("protoc%6Fl=%37&askr=%31"), Ok(escaped));
    }
}

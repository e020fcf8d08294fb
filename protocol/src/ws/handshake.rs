//! The opening handshake (RFC 6455, section 4.2). Pure: a request's head in, a response's head out.
//!
//! No subprotocol is ever selected; a browser that requested one then closes the connection, as the RFC
//! requires.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, StatusCode, Version};
use sha1::{Digest, Sha1};

/// The only version of the protocol (RFC 6455, section 4.1).
pub const VERSION: &str = "13";
/// What every server appends to the key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An accepted request: the value of `Sec-WebSocket-Accept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept(String);

impl Accept {
    #[cfg(test)]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The complete head of the response, after which frames follow.
    pub fn response(&self) -> Vec<u8> {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            self.0
        )
        .into_bytes()
    }
}

/// Why a request does not become a WebSocket. `Display` is one line for the response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("a WebSocket is opened with GET")]
    Method,
    #[error("a WebSocket needs HTTP/1.1 (nginx: proxy_http_version 1.1)")]
    Http,
    #[error(
        "this is a WebSocket: send Upgrade: websocket and Connection: Upgrade \
         (nginx: proxy_set_header passes them on)"
    )]
    NoUpgrade,
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    #[error("Sec-WebSocket-Key must be there once, 16 bytes in base64")]
    Key,
}

impl Refused {
    /// The status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Http | Self::Key => StatusCode::BAD_REQUEST,
            Self::NoUpgrade | Self::Version => StatusCode::UPGRADE_REQUIRED,
        }
    }

    /// The header that the response must have (RFC 6455, sections 4.2.2 and 4.4; RFC 9110, section 15.5.22).
    pub fn header(self) -> Option<(HeaderName, &'static str)> {
        match self {
            Self::NoUpgrade => Some((UPGRADE, "websocket")),
            Self::Version => Some((SEC_WEBSOCKET_VERSION, VERSION)),
            Self::Method | Self::Http | Self::Key => None,
        }
    }
}

/// Whether a request asks for a WebSocket at all, even if it is malformed.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has(headers, UPGRADE, "websocket")
}

/// Checks a request's handshake.
///
/// # Errors
/// If the method, the version of HTTP or of the protocol, a header or the key is wrong.
pub fn accept(method: &Method, version: Version, headers: &HeaderMap) -> Result<Accept, Refused> {
    if method != Method::GET {
        return Err(Refused::Method);
    }
    // Checked first: behind a proxy that uses HTTP/1.0 the other headers are missing as well.
    if version != Version::HTTP_11 {
        return Err(Refused::Http);
    }
    if !is_upgrade(headers) || !has(headers, CONNECTION, "upgrade") {
        return Err(Refused::NoUpgrade);
    }
    if only(headers, SEC_WEBSOCKET_VERSION) != Some(VERSION) {
        return Err(Refused::Version);
    }
    let key = only(headers, SEC_WEBSOCKET_KEY).ok_or(Refused::Key)?;
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(Accept(answer(key))),
        _ => Err(Refused::Key),
    }
}

fn answer(key: &str) -> String {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(hash)
}

/// Whether a comma-separated header, which may be repeated, has this token, in any case.
fn has(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let lines = headers.get_all(name).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|one| one.trim().eq_ignore_ascii_case(word))
}

fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().map(str::trim),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut all = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            all.append(name, value.parse().unwrap());
        }
        all
    }

    fn good() -> Vec<(&'static str, &'static str)> {
        vec![
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ]
    }

    fn get(lines: &[(&str, &str)]) -> Result<Accept, Refused> {
        accept(&Method::GET, Version::HTTP_11, &headers(lines))
    }

    #[test]
    fn the_rfcs_example_is_answered_as_in_the_rfc() {
        let accept = get(&good()).unwrap();
        assert_eq!(accept.as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let head = String::from_utf8(accept.response()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 ") && head.ends_with("\r\n\r\n"));
        assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert_eq!(head.matches("\r\n\r\n").count(), 1);
    }

    #[test]
    fn header_tokens_are_found_in_any_case_and_position() {
        let mut lines = good();
        lines[0].1 = "h2c, WebSocket";
        lines[1].1 = "UPGRADE";
        assert!(get(&lines).is_ok());
        lines[1] = ("connection", "close");
        lines.push(("connection", "x,upgrade"));
        assert!(get(&lines).is_ok());
    }

    #[test]
    fn a_missing_or_wrong_header_is_refused() {
        for (at, value, expected) in [
            (0, "web", Refused::NoUpgrade),
            (1, "keep-alive", Refused::NoUpgrade),
            (1, "upgraded", Refused::NoUpgrade),
            (2, "8", Refused::Version),
            (2, "13, 8", Refused::Version),
            (3, "", Refused::Key),
            (3, "dGhlIHNhbXBsZSBub25j", Refused::Key),
            (3, "dGhlIHNhbXBsZSBub25jZQ", Refused::Key),
            (3, "dGhlIHNhbXBsZSBub25jZTEyMw==", Refused::Key),
            (3, "!!!!IHNhbXBsZSBub25jZQ==", Refused::Key),
        ] {
            let mut lines = good();
            lines[at].1 = value;
            assert_eq!(get(&lines), Err(expected), "{value}");
            lines.remove(at);
            assert_eq!(get(&lines), Err(expected), "without {at}");
        }
        let mut twice = good();
        twice.push(("sec-websocket-key", KEY));
        assert_eq!(get(&twice), Err(Refused::Key));
        let all = headers(&good());
        let post = accept(&Method::POST, Version::HTTP_11, &all);
        assert_eq!(post, Err(Refused::Method));
        let old = accept(&Method::GET, Version::HTTP_10, &all);
        assert_eq!(old, Err(Refused::Http));
    }

    #[test]
    fn a_refusal_names_what_is_required() {
        assert_eq!(Refused::Version.status(), 426);
        let (name, value) = Refused::Version.header().unwrap();
        assert_eq!((name.as_str(), value), ("sec-websocket-version", "13"));
        assert_eq!(Refused::NoUpgrade.status(), 426);
        assert_eq!(Refused::Key.status(), 400);
        for refused in [
            Refused::Method,
            Refused::Http,
            Refused::NoUpgrade,
            Refused::Version,
            Refused::Key,
        ] {
            assert!(!refused.to_string().contains('\n'));
        }
    }
}

//! The target of a request: a URL, or a path on a Unix socket. Pure.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::HeaderValue;
use protocol::mac::hex;

/// The target of a request: `http://host:port/path` or `unix:/path/to.sock:/path`.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    uri: Uri,
    host: HeaderValue,
    text: String,
}

const SHAPE: &str = "must be http://host:port/path or unix:/path/to.sock:/path";

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (uri, host) = match text.strip_prefix("unix:") {
            Some(rest) => (unix(rest)?, "localhost".to_owned()),
            None => http(text)?,
        };
        let uri: Uri = uri.parse().map_err(|_| SHAPE.to_owned())?;
        Ok(Self {
            host: HeaderValue::from_str(&host).map_err(|_| SHAPE.to_owned())?,
            uri,
            text: text.to_owned(),
        })
    }
}

fn http(text: &str) -> Result<(String, String), String> {
    if text.starts_with("https:") {
        let why = "there is no TLS here, since the application is expected on the same machine or network; \
                   reach a remote one through a proxy on this machine";
        return Err(format!("{SHAPE}: {why}"));
    }
    let uri: Uri = text.parse().map_err(|_| SHAPE.to_owned())?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let sound = uri.scheme_str() == Some("http")
        && uri.host().is_some_and(|host| !host.is_empty())
        && !authority.contains('@')
        && !text.contains('#');
    match sound {
        true => Ok((text.to_owned(), authority.to_owned())),
        false => Err(SHAPE.to_owned()),
    }
}

/// The socket's path, in hexadecimal digits, takes the place of the host, so that connections are pooled for
/// each socket.
fn unix(rest: &str) -> Result<String, String> {
    // `sun_path` has 108 bytes, the last one of them NUL.
    let (socket, path) = rest.split_once(":/").ok_or(SHAPE)?;
    if !socket.starts_with('/') || socket.len() > 107 || path.contains('#') {
        return Err(SHAPE.to_owned());
    }
    Ok(format!("unix://{}/{path}", hex(socket.as_bytes())))
}

impl Target {
    /// The URI for the client. That of a Unix socket has the socket's path as its host.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The value of the `Host` header; `localhost` for a Unix socket.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }
}

/// The path of the Unix socket, if the URI of a target is that of one.
pub fn socket(uri: &Uri) -> Option<String> {
    let host = uri.host().filter(|_| uri.scheme_str() == Some("unix"))?;
    let pairs = host.as_bytes().chunks_exact(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(bytes.collect::<Option<_>>()?).ok()
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The target as it was configured.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_url_or_a_socket_and_a_path() {
        let target: Target = "http://[::1]:8000/askr?a=1".parse().unwrap();
        assert_eq!(target.host(), "[::1]:8000");
        assert_eq!(target.uri().path_and_query().unwrap(), "/askr?a=1");
        assert_eq!(socket(target.uri()), None);
        let target: Target = "unix:/run/my app.sock:/askr/who?a=1".parse().unwrap();
        assert_eq!(target.host(), "localhost");
        assert_eq!(target.uri().path_and_query().unwrap(), "/askr/who?a=1");
        assert_eq!(socket(target.uri()).as_deref(), Some("/run/my app.sock"));
        assert_eq!(target.to_string(), "unix:/run/my app.sock:/askr/who?a=1");
        assert!("http://app".parse::<Target>().is_ok());
    }

    #[test]
    fn everything_else_is_refused_with_the_expected_form() {
        let long = format!("unix:/{}:/x", "x".repeat(107));
        for bad in [
            "",
            "app:8000",
            "/askr",
            "ftp://app/x",
            "http://",
            "http:///x",
            "http://user:pass@app/x",
            "http://app/x#y",
            "http://a b/",
            "http://app/\n",
            "unix:",
            "unix:/run/x.sock",
            "unix:run/x.sock:/x",
            "unix:/run/x.sock:x",
            "unix:/run/x.sock:/\u{7}",
            &long,
        ] {
            let why = bad.parse::<Target>().unwrap_err();
            assert!(why.starts_with(SHAPE), "{bad}: {why}");
        }
        let why = "https://app/x".parse::<Target>().unwrap_err();
        assert!(why.contains("no TLS"), "{why}");
    }
}

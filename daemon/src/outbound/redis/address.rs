//! Where the store is: `cluster.url`. Pure.
//!
//! ```text
//! redis://[user@]host[:port][/database]                    rediss://  with TLS
//! unix:///path/to.sock[?db=database][&user=name]
//! redis+sentinel://[user@]host[:port],host[:port]/master-name[/database]        rediss+sentinel://  with TLS
//! ```

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

const SHAPE: &str = "must be redis://[user@]host[:port][/database], rediss:// (TLS), unix:///path/to.sock[?db=database], \
                     or redis+sentinel://host[:port],host[:port]/master-name[/database]";
const PASSWORD: &str =
    "must have no password in it: set cluster.password_file or ASKR_CLUSTER_PASSWORD";
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;
/// `sun_path` has 108 bytes, the last one of them NUL.
const MAX_SOCKET: usize = 107;
/// Databases that a server may be configured to have.
const MAX_DATABASE: u32 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub place: Place,
    pub tls: bool,
    /// None: the server's default user.
    pub user: Option<String>,
    pub database: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Server {
        host: String,
        port: u16,
    },
    Socket(String),
    /// Sentinels are asked for the master of this name.
    Sentinels {
        hosts: Vec<(String, u16)>,
        master: String,
    },
}

impl FromStr for Address {
    type Err = String;

    /// A reason never repeats the text: there may be a password in it.
    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || SHAPE.to_owned();
        if let Some(rest) = text.strip_prefix("unix:") {
            return socket(rest);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(shape)?;
        let (tls, sentinels) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return Err(shape()),
        };
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (name(user)?, rest),
            None => (None, rest),
        };
        let mut path = rest.split('/');
        let hosts = path.next().unwrap_or_default();
        let place = if sentinels {
            let hosts = hosts.split(',').map(|one| host(one, SENTINEL_PORT));
            let master = path.next().and_then(decoded).ok_or_else(shape)?;
            Place::Sentinels {
                hosts: hosts.collect::<Option<_>>().ok_or_else(shape)?,
                master,
            }
        } else {
            let (host, port) = host(hosts, PORT).ok_or_else(shape)?;
            Place::Server { host, port }
        };
        let database = match path.next() {
            None | Some("") => 0,
            Some(number) => database(number)?,
        };
        match path.next() {
            None => Ok(Self {
                place,
                tls,
                user,
                database,
            }),
            Some(_) => Err(shape()),
        }
    }
}

fn socket(rest: &str) -> Result<Address, String> {
    // Both unix:///path and unix:/path.
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.len() > MAX_SOCKET || path.contains('\0') {
        return Err(SHAPE.to_owned());
    }
    let mut address = Address {
        place: Place::Socket(path.to_owned()),
        tls: false,
        user: None,
        database: 0,
    };
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("db", number)) => address.database = database(number)?,
            Some(("user", user)) => address.user = name(user)?,
            Some(("pass" | "password", _)) => return Err(PASSWORD.to_owned()),
            _ => return Err(SHAPE.to_owned()),
        }
    }
    Ok(address)
}

fn name(user: &str) -> Result<Option<String>, String> {
    if user.contains(':') {
        return Err(PASSWORD.to_owned());
    }
    match user {
        "" => Ok(None),
        user => decoded(user).map(Some).ok_or_else(|| SHAPE.to_owned()),
    }
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    (!text.is_empty() && !text.contains(char::is_control)).then(|| text.into_owned())
}

fn host(text: &str, port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']')?;
            let port = match behind {
                "" => port,
                behind => behind.strip_prefix(':')?.parse().ok()?,
            };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, port),
        },
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-:%".contains(&b);
    (!host.is_empty() && host.bytes().all(plain)).then(|| (host.to_owned(), port))
}

fn database(number: &str) -> Result<u32, String> {
    let parsed = number.parse().ok().filter(|number| *number < MAX_DATABASE);
    parsed.ok_or_else(|| format!("{SHAPE}; the database is a number"))
}

/// For the log: what is connected to.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Server { host, port } => write!(f, "{host}:{port}"),
            Place::Socket(path) => f.write_str(path),
            Place::Sentinels { master, .. } => write!(f, "the master {master}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Address {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn a_server_a_socket_or_sentinels() {
        let server = |host: &str, port| Place::Server {
            host: host.into(),
            port,
        };
        let plain = parsed("redis://cache");
        assert_eq!(plain.place, server("cache", 6379));
        assert_eq!((plain.tls, plain.user, plain.database), (false, None, 0));
        let full = parsed("rediss://a%40b@[::1]:7000/3");
        assert_eq!(full.place, server("::1", 7000));
        assert_eq!(
            (full.tls, full.user.as_deref(), full.database),
            (true, Some("a@b"), 3)
        );
        for text in ["unix:///run/redis.sock", "unix:/run/redis.sock"] {
            assert_eq!(parsed(text).place, Place::Socket("/run/redis.sock".into()));
        }
        let socket = parsed("unix:///run/redis.sock?db=2&user=askr");
        assert_eq!((socket.database, socket.user.as_deref()), (2, Some("askr")));
        let sentinels = parsed("redis+sentinel://askr@h1,h2:5000/mymaster/1");
        assert_eq!(
            sentinels.place,
            Place::Sentinels {
                hosts: vec![("h1".into(), 26379), ("h2".into(), 5000)],
                master: "mymaster".into()
            }
        );
        assert_eq!((sentinels.tls, sentinels.database), (false, 1));
        assert!(parsed("rediss+sentinel://h/m").tls);
    }

    #[test]
    fn everything_else_is_refused_with_what_it_must_be() {
        let long = format!("unix:///{}", "x".repeat(107));
        for bad in [
            "",
            "redis",
            "redis:cache",
            "http://cache",
            "redis://",
            "redis://cache:port",
            "redis://cache:70000",
            "redis://ca che",
            "redis://cache/x",
            "redis://cache/-1",
            "redis://cache/0/1",
            "redis://[::1",
            "redis://[::1]7000",
            "redis+sentinel://h1,h2",
            "redis+sentinel://h1,,h2/m",
            "redis+sentinel:///m",
            "unix://run/redis.sock",
            "unix:///run/redis.sock?db=x",
            "unix:///run/redis.sock?timeout=1",
            &long,
        ] {
            let why = bad.parse::<Address>().unwrap_err();
            assert!(why.starts_with("must be redis://"), "{bad}: {why}");
        }
    }

    #[test]
    fn a_password_has_no_place_in_it_and_is_not_repeated() {
        for bad in [
            "redis://:hunter2@cache",
            "redis://askr:hunter2@cache/1",
            "unix:///run/redis.sock?password=hunter2",
            "redis+sentinel://askr:hunter2@h1/m",
        ] {
            assert_eq!(bad.parse::<Address>().unwrap_err(), PASSWORD);
        }
        let why = "redis://hunter2@ca che".parse::<Address>().unwrap_err();
        assert!(!why.contains("hunter2"));
    }
}

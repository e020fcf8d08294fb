//! Why the store cannot be used: one sentence, which begins with the setting that it is about.

use std::fmt;

use redis::{ErrorKind, RedisError};

/// Why, for the log and `/readyz`. Never has a password in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Trouble {
    pub fn new(sentence: String) -> Self {
        Self(sentence)
    }

    /// The server did not respond in time.
    pub fn silence(server: &str) -> Self {
        Self(format!(
            "cluster.url: {server} does not respond in time (cluster.timeout)"
        ))
    }

    /// Whether somebody asked for a password, or refused one.
    pub fn is_of_password(why: &RedisError) -> bool {
        let asks = matches!(why.code(), Some("NOAUTH" | "WRONGPASS"));
        asks || why.kind() == ErrorKind::AuthenticationFailed
    }

    /// What an error of a Sentinel means. `user`: as whom it was asked.
    pub fn of_sentinels(why: &RedisError, server: &str, user: Option<&str>) -> Self {
        let user = user.unwrap_or("default");
        Self(match why.code() {
            Some("NOAUTH") => format!(
                "cluster.sentinel_password_file: the Sentinels of {server} ask for a password"
            ),
            _ if Self::is_of_password(why) => format!(
                "cluster.sentinel_password_file: the Sentinels of {server} refuse the password of the user \"{user}\""
            ),
            _ => return Self::of(why, &format!("a Sentinel of {server}"), Some(user)),
        })
    }

    /// What an error of the client or the server means. `server`: what is connected to; `user`: as whom.
    pub fn of(why: &RedisError, server: &str, user: Option<&str>) -> Self {
        let user = user.unwrap_or("default");
        // Of several commands that were sent together, the first one that failed.
        let all = why.clone().into_server_errors();
        let one = all.and_then(|all| Some(all.first()?.1.clone()));
        let (code, detail, text) = match &one {
            Some(one) => (
                one.code(),
                one.details().unwrap_or_default(),
                one.to_string(),
            ),
            None => {
                let (code, detail) = (why.code(), why.detail());
                (
                    code.unwrap_or_default(),
                    detail.unwrap_or_default(),
                    why.to_string(),
                )
            }
        };
        let text = short(&text);
        Self(match (why.kind(), code) {
            (ErrorKind::MasterNameNotFoundBySentinel, _) => {
                format!("cluster.url: the Sentinels know no master of that name: {server}")
            }
            (ErrorKind::Io, _) if text.contains("certificate") => format!(
                "cluster.url: {server} shows a certificate that cluster.ca_file does not vouch for: {text}"
            ),
            (ErrorKind::Io, _) if why.is_timeout() => return Self::silence(server),
            (ErrorKind::Io | ErrorKind::InvalidClientConfig, _) => {
                format!("cluster.url: {server} cannot be reached: {text}")
            }
            (_, "NOAUTH") => format!(
                "cluster.password_file: {server} asks for a password: set this, or ASKR_CLUSTER_PASSWORD"
            ),
            (ErrorKind::AuthenticationFailed, _) | (_, "WRONGPASS") => format!(
                "cluster.password_file: {server} refuses the password of the user \"{user}\""
            ),
            (_, "ERR") if detail.contains("AUTH") => format!(
                "cluster.password_file: {server} refuses the password of the user \"{user}\": {}",
                short(detail)
            ),
            (_, "NOPERM") => format!(
                "cluster.url: the user \"{user}\" of {server} may not do what is needed: {}",
                short(detail)
            ),
            (_, "WRONGTYPE") => format!(
                "cluster.name: {server} has a key of that name that is of another type, so another program uses it"
            ),
            (_, "ERR") if detail.contains("DB index") => {
                format!("cluster.url: {server} has no database of that number")
            }
            (_, "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN") => format!(
                "cluster.url: {server} belongs to a Redis Cluster, which is not supported: {text}"
            ),
            (_, "OOM") => format!(
                "cluster.stream_length: {server} has used up the memory that its maxmemory allows"
            ),
            (_, "READONLY") => {
                format!("cluster.url: {server} is a replica, which cannot be written to")
            }
            _ => format!("cluster.url: {server} answered: {text}"),
        })
    }
}

/// What a server says is neither long nor more than one line.
fn short(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(300).collect()
}

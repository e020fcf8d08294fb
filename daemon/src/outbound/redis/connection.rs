//! Connections to the server: TCP, TLS, a Unix socket, or the master that Sentinels name.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, TlsCertificates, TlsMode,
};
use zeroize::Zeroizing;

use crate::outbound::redis::address::{Address, Place};
use crate::outbound::redis::store::Server;
use crate::outbound::redis::trouble::Trouble;

/// The oldest server that has what is needed.
const OLDEST: (u32, u32) = (6, 2);

/// Where to connect, and as whom.
pub struct Options {
    pub address: Address,
    pub password: Option<Zeroizing<String>>,
    /// As whom Sentinels are asked.
    pub sentinel: Sentinel,
    /// Certificates (PEM) that the server's may be signed by. None: those of the system.
    pub ca: Option<Vec<u8>>,
    /// How long the server may take to respond.
    pub timeout: Duration,
}

/// Sentinels have users and passwords of their own.
#[derive(Default)]
pub struct Sentinel {
    /// None: their default user.
    pub user: Option<String>,
    pub password: Option<Zeroizing<String>>,
}

/// Makes connections, all to the same server.
pub struct Connector {
    client: Client,
    options: Arc<Options>,
    /// For sentences.
    name: String,
}

impl Connector {
    /// Finds the server.
    pub async fn find(options: Arc<Options>) -> Result<Self, Trouble> {
        // The library asks for a provider of cryptography; whoever installed one before is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name = options.address.to_string();
        let found = tokio::time::timeout(3 * options.timeout, client(&options)).await;
        match found {
            Err(_) => Err(Trouble::silence(&name)),
            Ok(Err(Failed::Server(why))) => {
                Err(Trouble::of(&why, &name, options.address.user.as_deref()))
            }
            Ok(Err(Failed::Sentinels(why))) => Err(Trouble::of_sentinels(
                &why,
                &name,
                options.sentinel.user.as_deref(),
            )),
            Ok(Ok(client)) => {
                let name = match options.address.place {
                    Place::Sentinels { .. } => {
                        format!("{name} at {}", client.get_connection_info().addr())
                    }
                    _ => name,
                };
                Ok(Self {
                    client,
                    options,
                    name,
                })
            }
        }
    }

    /// A connection whose responses may take the usual time, and `wait` more.
    pub async fn commands(&self, wait: Duration) -> Result<MultiplexedConnection, Trouble> {
        let timeout = self.options.timeout;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout + wait));
        let client = &self.client;
        self.within(client.get_multiplexed_async_connection_with_config(&config))
            .await
    }

    /// A connection that hears what is said to these names.
    pub async fn listener(&self, names: &[String]) -> Result<PubSub, Trouble> {
        self.within(async {
            let mut connection = self.client.get_async_pubsub().await?;
            connection.subscribe(names).await?;
            Ok(connection)
        })
        .await
    }

    /// What the server is.
    ///
    /// # Errors
    /// Also if it is none that can be used.
    pub async fn server(&self, connection: &MultiplexedConnection) -> Result<Server, Trouble> {
        let mut connection = connection.clone();
        let info = redis::cmd("INFO");
        let text: String = self.within(info.query_async(&mut connection)).await?;
        server(&text, &self.name).map_err(Trouble::new)
    }

    /// Whatever is awaited takes no longer than the server may.
    pub async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Trouble> {
        match tokio::time::timeout(2 * self.options.timeout, work).await {
            Err(_) => Err(Trouble::silence(&self.name)),
            Ok(done) => done.map_err(|why| self.trouble(&why)),
        }
    }

    pub fn trouble(&self, why: &RedisError) -> Trouble {
        Trouble::of(why, &self.name, self.options.address.user.as_deref())
    }

    /// What is connected to, for sentences.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Who could not be asked.
enum Failed {
    Server(RedisError),
    Sentinels(RedisError),
}

impl From<RedisError> for Failed {
    fn from(why: RedisError) -> Self {
        Self::Server(why)
    }
}

async fn client(options: &Options) -> Result<Client, Failed> {
    let address = &options.address;
    let certificates = || TlsCertificates {
        client_tls: None,
        root_cert: options.ca.clone(),
    };
    let tcp = |host: &str, port: u16| match address.tls {
        false => ConnectionAddr::Tcp(host.to_owned(), port),
        true => ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: false,
            tls_params: None,
        },
    };
    let place = match &address.place {
        Place::Server { host, port } => tcp(host, *port),
        Place::Socket(path) => ConnectionAddr::Unix(path.into()),
        Place::Sentinels { hosts, master } => {
            let hosts = hosts.iter().map(|(host, port)| tcp(host, *port));
            let mut sentinels =
                SentinelClientBuilder::new(hosts, master, SentinelServerType::Master)?
                    .set_client_to_redis_db(i64::from(address.database));
            if let Some(user) = &address.user {
                sentinels = sentinels.set_client_to_redis_username(user);
            }
            if let Some(password) = &options.password {
                sentinels = sentinels.set_client_to_redis_password(password.as_str());
            }
            if address.tls {
                sentinels = sentinels
                    .set_client_to_redis_tls_mode(TlsMode::Secure)
                    .set_client_to_redis_certificates(certificates())
                    .set_client_to_sentinel_certificates(certificates());
            }
            if let Some(user) = &options.sentinel.user {
                sentinels = sentinels.set_client_to_sentinel_username(user);
            }
            if let Some(password) = &options.sentinel.password {
                sentinels = sentinels.set_client_to_sentinel_password(password.as_str());
            }
            let mut sentinels = sentinels.build()?;
            let why = match sentinels.async_get_client().await {
                Ok(client) => return Ok(client),
                Err(why) => why,
            };
            // The Sentinels and the master may have refused it: who does not answer a Sentinel's question was it.
            if Trouble::is_of_password(&why) {
                let asked = async {
                    let client = sentinels.async_get_sentinel_client().await?;
                    let mut connection = client.get_multiplexed_async_connection().await?;
                    let ask = redis::cmd("SENTINEL").arg("MASTERS").to_owned();
                    ask.query_async::<redis::Value>(&mut connection).await
                };
                if let Err(why) = asked.await {
                    return Err(Failed::Sentinels(why));
                }
            }
            return Err(why.into());
        }
    };
    let mut who = RedisConnectionInfo::default()
        .set_db(i64::from(address.database))
        .set_skip_set_lib_name();
    if let Some(user) = &address.user {
        who = who.set_username(user);
    }
    if let Some(password) = &options.password {
        who = who.set_password(password.as_str());
    }
    let info = place.into_connection_info()?.set_redis_settings(who);
    Ok(match address.tls {
        true => Client::build_with_tls(info, certificates())?,
        false => Client::open(info)?,
    })
}

/// What the answer to INFO says. An error: why this server cannot be used.
fn server(info: &str, name: &str) -> Result<Server, String> {
    let field = |key: &str| {
        let of = |line: &str| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned());
        info.lines().find_map(of).unwrap_or_default()
    };
    let version = field("redis_version");
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < OLDEST {
        return Err(format!(
            "cluster.url: {name} is Redis {version}; {}.{} or newer is needed",
            OLDEST.0, OLDEST.1
        ));
    }
    if field("cluster_enabled") == "1" {
        return Err(format!(
            "cluster.url: {name} belongs to a Redis Cluster, which is not supported"
        ));
    }
    if field("role") == "slave" {
        return Err(format!(
            "cluster.url: {name} is a replica, which cannot be written to"
        ));
    }
    if field("loading") == "1" {
        return Err(format!("cluster.url: {name} is still loading its data"));
    }
    let policy = field("maxmemory_policy");
    let evicts = policy.starts_with("allkeys") && field("maxmemory") != "0";
    let warning = evicts.then(|| {
        format!(
            "cluster.url: {name} may delete what hosts share when its memory is full \
             (maxmemory-policy {policy}); noeviction is safe"
        )
    });
    Ok(Server {
        version,
        replication: field("master_replid"),
        warning,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_what_it_is() {
        let info = "# Server\r\nredis_version:7.0.15\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n\
                    role:master\r\nmaster_replid:abc\r\ncluster_enabled:0\r\n";
        let found = server(info, "there").unwrap();
        assert_eq!((&*found.version, &*found.replication), ("7.0.15", "abc"));
        assert_eq!(found.warning, None);
        let evicting = server(&info.replace("maxmemory:0", "maxmemory:1000"), "there").unwrap();
        let warning = evicting.warning.unwrap();
        assert!(warning.starts_with("cluster.url: there may delete what hosts share"));
        assert!(warning.contains("maxmemory-policy allkeys-lru"));
    }

    #[test]
    fn a_server_that_cannot_be_used_is_refused_with_the_reason() {
        let with = |line: &str| server(&format!("redis_version:7.0.15\r\n{line}"), "there");
        for (line, why) in [
            ("cluster_enabled:1", "belongs to a Redis Cluster"),
            ("role:slave", "is a replica"),
            ("loading:1", "is still loading"),
        ] {
            let refused = with(line).unwrap_err();
            assert!(refused.starts_with("cluster.url: there ") && refused.contains(why));
        }
        for old in ["5.0.7", "6.0.20", "6.1.99", "", "x"] {
            let refused = server(&format!("redis_version:{old}"), "there").unwrap_err();
            let sentence = format!("cluster.url: there is Redis {old}; 6.2 or newer is needed");
            assert_eq!(refused, sentence);
        }
        for new in ["6.2.0", "7.2.4", "8.0.1", "10.1"] {
            assert!(server(&format!("redis_version:{new}"), "there").is_ok());
        }
    }
}

//! The server that hosts share: whether it can be reached, is new enough, and keeps what it is given.

use std::sync::Arc;

use super::finding::Findings;
use crate::outbound::redis::connection::{Connector, Options};
use crate::outbound::redis::store::Server;
use crate::outbound::redis::trouble::Trouble;

const PART: &str = "redis";

pub fn examine(store: Options, findings: &mut Findings) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let asked = match runtime {
        Ok(runtime) => runtime.block_on(ask(store)).map_err(|why| why.to_string()),
        Err(why) => Err(why.to_string()),
    };
    match asked {
        Err(why) => findings.problem(
            PART,
            format!("hosts do not get one another's events: {why}"),
            "redis-cli -u the url of [cluster] ping; the section [cluster] of askr.toml",
        ),
        Ok(server) => {
            if let Some(why) = server.warning {
                findings.warning(
                    PART,
                    why,
                    "redis-cli config set maxmemory-policy noeviction",
                );
            }
        }
    }
}

async fn ask(store: Options) -> Result<Server, Trouble> {
    let connector = Connector::find(Arc::new(store)).await?;
    let connection = connector.commands(std::time::Duration::ZERO).await?;
    connector.server(&connection).await
}

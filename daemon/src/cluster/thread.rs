//! The thread that carries: one runtime, one node for each application.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use crate::cluster::node::{Joining, Node};
use crate::cluster::seen::Seen;
use crate::cluster::settings::Settings;
use crate::process::heartbeats::Beat;
use crate::process::parts;

/// What the other threads see of it.
pub struct Cluster {
    /// One for each application, in their order.
    pub seen: Vec<Arc<Seen>>,
    joined: Vec<watch::Receiver<bool>>,
}

impl Cluster {
    /// There is one host.
    pub fn none() -> Self {
        Self {
            seen: Vec::new(),
            joined: Vec::new(),
        }
    }

    /// Waits until every application has caught up with what the others published, or cannot reach them; at most so long.
    pub async fn caught_up(&mut self, most: Duration) {
        let all = async {
            for (joined, seen) in self.joined.iter_mut().zip(&self.seen) {
                loop {
                    let changed = tokio::time::timeout(
                        Duration::from_millis(20),
                        joined.wait_for(|joined| *joined),
                    );
                    if changed.await.is_ok() || seen.has_failed() {
                        break;
                    }
                }
            }
        };
        if tokio::time::timeout(most, all).await.is_err() {
            tracing::warn!(
                "what other hosts published meanwhile is still being read (cluster.catch_up)"
            );
        }
    }
}

/// Starts it. It runs until the process ends.
///
/// # Errors
/// If there can be no thread.
pub fn start(settings: Settings, joining: Vec<Joining>, beat: Beat) -> io::Result<Cluster> {
    let mut cluster = Cluster::none();
    let mut tasks = Vec::new();
    for one in joining {
        let (joined, waiting) = watch::channel(false);
        let seen = Arc::<Seen>::default();
        cluster.seen.push(seen.clone());
        cluster.joined.push(waiting);
        tasks.push((one, joined, seen));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    parts::thread("cluster", move || {
        let settings = Rc::new(settings);
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let mut loops = JoinSet::new();
            for (one, joined, seen) in tasks {
                let node = Rc::new(Node::new(one, settings.clone(), joined, seen));
                let publisher = node.clone();
                let publish = async move { publisher.publish().await };
                loops.spawn_local(parts::task("imports", publish));
                loops.spawn_local(parts::task("node", node.run()));
            }
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    _ = seconds.tick() => beat.beat(),
                    Some(ended) = loops.join_next() => return Err(io::Error::other(ended?)),
                }
            }
        })
    })?;
    Ok(cluster)
}

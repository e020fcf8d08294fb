//! Queries and commands to an application's engines on all workers, of all hosts: the others are asked, and one that does
//! not answer in time is left out and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use shared::grant;
use shared::segment::now_s;
use shared::vector::OriginId;
use tokio::sync::oneshot;

use crate::app::application::App;
use crate::app::peers::To;
use crate::app::revocations;
use crate::hub::command::{Command, SlowStream, Target, Which};

/// Topics of what is asked of other nodes.
pub const CHANNELS: &str = "channels";
pub const CONNECTIONS: &str = "connections";
pub const END: &str = "disconnect";
/// The most channels in an answer, and the most answers that are taken of one node.
const PAGE: usize = 4000;
const PAGES: usize = 1000;

/// What all hosts have together.
#[derive(Debug)]
pub struct Everywhere<T> {
    pub all: T,
    /// Hosts that did not answer in time, whose part is lacking.
    pub missing: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct AskChannels {
    #[serde(flatten)]
    which: WhichText,
    /// Those behind this name.
    after: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhichText {
    Prefix(String),
    Names(Vec<String>),
}

impl From<Which> for WhichText {
    fn from(which: Which) -> Self {
        match which {
            Which::Prefix(prefix) => Self::Prefix(prefix),
            Which::Names(names) => Self::Names(names),
        }
    }
}

impl From<WhichText> for Which {
    fn from(which: WhichText) -> Self {
        match which {
            WhichText::Prefix(prefix) => Self::Prefix(prefix),
            WhichText::Names(names) => Self::Names(names),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ChannelsPage {
    channels: BTreeMap<String, usize>,
    /// There are more, behind this one.
    next: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AskEnd {
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    all: bool,
    /// Up to which second tokens are revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

impl AskEnd {
    fn new(target: &Target, now: u64) -> Self {
        let none = Self::default();
        match target {
            Target::Socket(socket) => Self {
                socket: Some(socket.to_string()),
                ..none
            },
            Target::User(user) => Self {
                user: Some(user.clone()),
                at: Some(now),
                ..none
            },
            Target::All => Self {
                all: true,
                at: Some(now),
                ..none
            },
        }
    }
}

/// How long to wait for one worker. Only a worker that has ended takes as long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The number of subscribers of each of these channels that has any, on all hosts.
pub async fn channels(app: &App, which: Which) -> Everywhere<BTreeMap<String, usize>> {
    let (here, others) = tokio::join!(channels_here(app, which.clone()), async {
        let nodes = app.peers.nodes();
        // Each by itself: one that does not answer is waited for once, however many pages the others have.
        let each = nodes.iter().map(|node| channels_of(app, *node, &which));
        join_all(each).await
    });
    let missing = others.iter().filter(|channels| channels.is_none()).count();
    let mut all = here;
    for (name, count) in others.into_iter().flatten().flatten() {
        *all.entry(name).or_default() += count;
    }
    Everywhere { all, missing }
}

/// The same of another node, page by page. None: it did not answer in time, or has no end.
async fn channels_of(app: &App, node: OriginId, which: &Which) -> Option<BTreeMap<String, usize>> {
    let mut all = BTreeMap::new();
    let mut ask = AskChannels {
        which: which.clone().into(),
        after: None,
    };
    for _ in 0..PAGES {
        let answers = app.peers.ask::<ChannelsPage>(To::One(node), CHANNELS, &ask);
        let (_, page) = answers.await.by_node.pop()?;
        all.extend(page.channels);
        // It goes on behind the last name, or is not believed.
        match page.next {
            Some(next) if ask.after.as_ref().is_none_or(|after| next > *after) => {
                ask.after = Some(next);
            }
            _ => return Some(all),
        }
    }
    None
}

/// The same on this host.
async fn channels_here(app: &App, which: Which) -> BTreeMap<String, usize> {
    let counts = ask_workers(app, |answer| Command::Count {
        which: which.clone(),
        answer,
    });
    let mut all = BTreeMap::new();
    for (name, count) in counts.await.into_iter().flatten() {
        *all.entry(name).or_default() += count;
    }
    all
}

/// The channels with the most subscribers on this host, the most first.
pub async fn largest_here(app: &App, most: usize) -> Vec<(String, usize)> {
    // More than are shown: those that have most of theirs on one worker each may have more together.
    let each = ask_workers(app, |answer| Command::Largest {
        most: 4 * most,
        answer,
    });
    let names: BTreeSet<String> = each
        .await
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    let which = Which::Names(names.into_iter().collect());
    let mut all: Vec<_> = channels_here(app, which).await.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(most);
    all
}

/// The streams on this host for which most is waiting, the most first.
pub async fn slow_here(app: &App, most: usize) -> Vec<SlowStream> {
    let each = ask_workers(app, |answer| Command::Slow { most, answer });
    let mut all: Vec<SlowStream> = each.await.into_iter().flatten().collect();
    all.sort_by_key(|one| (std::cmp::Reverse(one.bytes), one.socket.to_string()));
    all.truncate(most);
    all
}

/// For another node: a page of [`channels`].
pub async fn channels_page(app: &App, ask: AskChannels) -> ChannelsPage {
    let mut all = channels_here(app, ask.which.into()).await;
    if let Some(after) = &ask.after {
        all = all.split_off(after);
        all.remove(after);
    }
    let more = all.len() > PAGE;
    let channels: BTreeMap<_, _> = all.into_iter().take(PAGE).collect();
    let last = channels.last_key_value().map(|(name, _)| name.clone());
    ChannelsPage {
        next: last.filter(|_| more),
        channels,
    }
}

/// The number of connections on all hosts.
pub async fn connections(app: &App) -> Everywhere<usize> {
    let answers = app.peers.ask::<usize>(To::All, CONNECTIONS, &()).await;
    let others: usize = answers.by_node.iter().map(|(_, count)| count).sum();
    Everywhere {
        all: app.quota.used() + others,
        missing: answers.missing,
    }
}

/// Disconnects one connection, all of a user, or all, on all hosts. For a user or all, tokens issued until now are
/// refused from then on. Returns how many connections were ended.
pub async fn end(app: &App, target: Target) -> Everywhere<usize> {
    // First, so that nobody can reconnect in between.
    let now = now_s();
    match &target {
        Target::User(user) => revocations::revoke(app, Some(user), now),
        Target::All => revocations::revoke(app, None, now),
        Target::Socket(_) => {}
    }
    let ask = AskEnd::new(&target, now);
    let others = app.peers.ask::<usize>(To::All, END, &ask);
    let (here, others) = tokio::join!(end_here(app, &target), others);
    Everywhere {
        all: here + others.by_node.iter().map(|(_, ended)| ended).sum::<usize>(),
        missing: others.missing,
    }
}

/// For another node: ends what is here. None: it does not say what.
pub async fn end_asked(app: &App, ask: AskEnd) -> Option<usize> {
    let target = match (ask.socket, ask.user) {
        (Some(socket), None) => Target::Socket(socket.parse().ok()?),
        (None, Some(user)) if grant::any_user(user.as_bytes()).is_ok() => Target::User(user),
        (None, None) if ask.all => Target::All,
        _ => return None,
    };
    match &target {
        Target::User(user) => revocations::learn(app, Some(user), ask.at?),
        Target::All => revocations::learn(app, None, ask.at?),
        Target::Socket(_) => {}
    }
    Some(end_here(app, &target).await)
}

async fn end_here(app: &App, target: &Target) -> usize {
    let ended = ask_workers(app, |answer| Command::End {
        target: target.clone(),
        answer,
    });
    ended.await.into_iter().sum()
}

/// Sends a command to every worker, then waits for all. A worker that has ended does not answer.
async fn ask_workers<T>(app: &App, make: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<T> {
    let ask = |inbox: &crate::hub::inbox::Inbox| {
        let (answer, answered) = oneshot::channel();
        inbox.command(make(answer));
        answered
    };
    let waiting: Vec<_> = app.hub.inboxes.iter().map(ask).collect();
    let mut answers = Vec::new();
    for answered in waiting {
        let answered = tokio::time::timeout(TIMEOUT, answered).await;
        answers.extend(answered.ok().and_then(Result::ok));
    }
    answers
}

//! Queries and commands to an application's engines on all workers.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::segment::now_s;
use tokio::sync::oneshot;

use crate::app::application::App;
use crate::hub::command::{Command, Target, Which};

/// How long to wait for one worker. Only a worker that has ended takes as long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The number of subscribers of each of these channels that has any.
pub async fn channels(app: &App, which: Which) -> BTreeMap<String, usize> {
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

/// Disconnects one connection, all of a user, or all. For a user or all, tokens issued until now are refused
/// from then on. Returns how many connections were ended.
pub async fn end(app: &App, target: Target) -> usize {
    // First, so that nobody can reconnect in between.
    match &target {
        Target::User(user) => app.authority.revoke_user(user, now_s()),
        Target::All => app.authority.revoke_all(now_s()),
        Target::Socket(_) => {}
    }
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

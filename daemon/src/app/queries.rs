//! Questions and orders to an application's engines, whichever worker has the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::segment::now_s;
use tokio::sync::oneshot;

use crate::app::application::App;
use crate::hub::command::{Command, Target, Which};

/// For one worker. None takes as long, unless it has ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// Subscribers of each of these channels that has any.
pub async fn channels(app: &App, which: Which) -> BTreeMap<String, usize> {
    let counts = everywhere(app, |answer| Command::Count {
        which: which.clone(),
        answer,
    });
    let mut all = BTreeMap::new();
    for (name, count) in counts.await.into_iter().flatten() {
        *all.entry(name).or_default() += count;
    }
    all
}

/// Ends one connection, all of a user, or all; tokens of the user, or of all, that were issued until now
/// are refused then. Returns how
/// many were ended.
pub async fn end(app: &App, target: Target) -> usize {
    // First, so that nobody slips in behind.
    match &target {
        Target::User(user) => app.authority.revoke_user(user, now_s()),
        Target::All => app.authority.revoke_all(now_s()),
        Target::Socket(_) => {}
    }
    let ended = everywhere(app, |answer| Command::End {
        target: target.clone(),
        answer,
    });
    ended.await.into_iter().sum()
}

/// Asks every worker, then waits for all. A worker that has ended answers nothing.
async fn everywhere<T>(app: &App, make: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<T> {
    let ask = |inbox: &crate::hub::inbox::Inbox| {
        let (answer, answered) = oneshot::channel();
        inbox.command(make(answer));
        answered
    };
    let waiting: Vec<_> = app.hub.inboxes.iter().map(ask).collect();
    let mut answers = Vec::new();
    for answered in waiting {
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        answers.extend(answered.ok().and_then(Result::ok));
    }
    answers
}

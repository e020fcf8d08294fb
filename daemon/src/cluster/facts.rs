//! What is so on this node is told to the others, and what they say of theirs becomes members, counts and users here.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cluster::facts::others::Effect;
use cluster::facts::{Key, Notice, Page, Value};
use protocol::channel::Kind;
use protocol::pusher;
use serde::{Deserialize, Serialize};
use shared::vector::OriginId;
use tokio::time::MissedTickBehavior;

use crate::app::application::App;
use crate::app::peers::To;
use crate::hub::facts::Facts;
use crate::hub::roster::Elsewhere;
use crate::hub::watchlists::notify_watchers;
use crate::process::client_key::ClientKey;

pub const TOPIC: &str = "facts";
/// How often the others are told how far this node is, so that they see what they lack.
const BEAT: Duration = Duration::from_secs(1);
/// How often changed counts are told.
const COUNTS: Duration = Duration::from_millis(100);
/// Changes are told together that come within this time.
const GATHER: Duration = Duration::from_millis(5);

/// Asks for a page of a node's facts.
#[derive(Serialize, Deserialize)]
pub struct Ask {
    after: Option<Key>,
}

/// Tells this node's facts, and looks after those of the others. Never ends; waits for ever if there are no others.
pub async fn run(app: Arc<App>) -> Infallible {
    let Some(facts) = &app.hub.facts else {
        return std::future::pending().await;
    };
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counts = tokio::time::interval(COUNTS);
    counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = facts.changed() => tokio::time::sleep(GATHER).await,
            _ = counts.tick() => say_counts(&app),
            _ = beats.tick() => {
                look_after(&app, facts);
                app.peers.tell(To::All, TOPIC, &facts.state());
            }
        }
        while let Some(notice) = facts.take() {
            app.peers.tell(To::All, TOPIC, &notice);
        }
    }
}

fn say_counts(app: &App) {
    for (channel, count) in app.hub.subscriber_counts.untold() {
        let value = (count > 0).then_some(Value::Count(count));
        app.hub.say(Key::Subscribers(channel.into()), value);
    }
}

/// Who is dead, and whether all others are known.
fn look_after(app: &Arc<App>, facts: &Facts) {
    if !app.peers.are_reached() {
        return cut_off(app);
    }
    let living = app.peers.nodes();
    for node in facts.nodes() {
        if !living.contains(&node) {
            carry_out_in_order(app, facts, |others, now| others.gone(node, now));
        }
    }
    let known = facts.knows(&living);
    // As long as this is not over, `cut_off` waits.
    facts.on_whether_sure(|sure| {
        let sure = sure && known && app.peers.are_reached();
        app.roster.set_sure(&app.hub, sure);
    });
    if known {
        app.roster.others_known(&app.hub);
    }
}

/// What the others say cannot be heard any more: who leaves here may be there.
pub fn cut_off(app: &App) {
    if let Some(facts) = &app.hub.facts {
        facts.deaf();
        app.roster.set_sure(&app.hub, false);
    }
}

/// A node told its changes, or how far it is.
pub fn told(app: &Arc<App>, from: OriginId, notice: Notice) {
    let Some(facts) = &app.hub.facts else { return };
    // One that is not known to live says so again in a second.
    if app.peers.nodes().contains(&from) {
        carry_out_in_order(app, facts, |others, now| others.heard(from, notice, now));
    }
}

pub fn asked(app: &App, ask: &Ask) -> Option<Page> {
    let facts = app.hub.facts.as_ref()?;
    Some(facts.page(ask.after.as_ref()))
}

fn carry_out_in_order(
    app: &Arc<App>,
    facts: &Facts,
    change: impl FnOnce(&mut cluster::facts::others::Others, u64) -> Vec<Effect>,
) {
    facts.on_others(change, |effects| carry_out(app, effects));
}

fn carry_out(app: &Arc<App>, effects: Vec<Effect>) {
    let mut members = Vec::new();
    for effect in effects {
        match effect {
            Effect::Ask {
                node,
                reading,
                after,
            } => ask(app.clone(), node, reading, after),
            Effect::Set { node, key, value } => match (key, value) {
                // Only a faulty or hostile node has them elsewhere.
                (Key::Member { channel, .. }, _) if !Kind::of(&channel).is_presence() => {}
                (Key::Member { channel, user }, value) => members.push(Elsewhere {
                    node,
                    sure: true,
                    channel,
                    user,
                    info: Some(match value {
                        Value::Info(info) => Some(info),
                        Value::Plain | Value::Count(_) => None,
                    }),
                }),
                (Key::Subscribers(channel), Value::Count(count)) => {
                    on_count(app, &channel, node, count);
                }
                (Key::User(user), _) => on_user(app, &user, node, true),
                (Key::Subscribers(_), Value::Plain | Value::Info(_)) => {}
            },
            Effect::Unset { node, key, sure } => match key {
                Key::Member { channel, user } => members.push(Elsewhere {
                    node,
                    sure,
                    channel,
                    user,
                    info: None,
                }),
                Key::Subscribers(channel) => on_count(app, &channel, node, 0),
                Key::User(user) => on_user(app, &user, node, false),
            },
        }
    }
    // Who joins or leaves here meanwhile does not wait for all of them.
    for some in members.chunks(1000) {
        app.roster.on_elsewhere(&app.hub, some);
    }
}

fn on_count(app: &App, channel: &str, node: u8, count: u32) {
    let counts = app
        .hub
        .subscriber_counts
        .set_elsewhere(channel, node, count);
    app.hub.send_counts(ClientKey::NONE, counts);
}

fn on_user(app: &App, user: &Arc<str>, node: u8, online: bool) {
    let watchers = app.watchlists.set_elsewhere(user, node, online);
    let events = match online {
        true => pusher::encode::watchlist_events(&[user], &[]),
        false => pusher::encode::watchlist_events(&[], &[user]),
    };
    notify_watchers(&app.hub, watchers, &events);
}

fn ask(app: Arc<App>, node: OriginId, reading: u64, after: Option<Key>) {
    tokio::task::spawn_local(async move {
        let ask = Ask { after };
        let answers = app.peers.ask::<Page>(To::One(node), TOPIC, &ask);
        let page = answers.await.by_node.pop().map(|(_, page)| page);
        let Some(facts) = &app.hub.facts else { return };
        carry_out_in_order(&app, facts, |others, now| match page {
            Some(page) => others.page(node, reading, page, now),
            None => {
                others.unanswered(node, reading);
                Vec::new()
            }
        });
    });
}

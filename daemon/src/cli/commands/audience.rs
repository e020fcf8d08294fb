//! `askrd channels`, `askrd members`, `askrd disconnect`: lists subscribers and members, and disconnects clients.

use std::collections::BTreeMap;
use std::process::ExitCode;

use protocol::channel::Kind;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;
use shared::grant::{self, names_socket};
use shared::rules;

use super::control_client::ask;
use crate::cli::arguments::{ChannelsArgs, DisconnectArgs, MembersArgs, Source};
use crate::config::Settings;
use crate::process::terminal;

#[derive(Deserialize)]
struct Channels {
    channels: BTreeMap<String, u64>,
    #[serde(default)]
    hosts_missing: u64,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    id: String,
    info: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Ended {
    ended: u64,
    #[serde(default)]
    hosts_missing: u64,
}

/// Prints the channels that have subscribers.
///
/// # Errors
/// A sentence, if the daemon cannot be reached or refuses.
pub fn channels(settings: &Settings, arguments: &ChannelsArgs) -> Result<ExitCode, String> {
    let ring = ring(settings, &arguments.common)?;
    let prefix = arguments.prefix.as_deref().unwrap_or_default();
    let query = [("ring", &*ring), ("prefix", prefix)];
    let answer: Channels = decode(&ask(settings, "/channels", &query, None)?)?;
    let printed = print(&table(&answer));
    warn_of(answer.hosts_missing);
    Ok(printed)
}

/// Prints the members of a presence channel.
///
/// # Errors
/// See [`channels`]; also if the channel's name is invalid, or not a presence channel's.
pub fn members(settings: &Settings, arguments: &MembersArgs) -> Result<ExitCode, String> {
    let channel = &arguments.channel;
    rules::channel(channel.as_bytes()).map_err(|why| format!("channel {why}"))?;
    if !Kind::of(channel).is_presence() {
        // Laravel and Echo leave the prefix out.
        return Err(format!(
            "channel {channel:?} has no members, as it is no presence channel; is it \"presence-{channel}\"?"
        ));
    }
    let ring = ring(settings, &arguments.common)?;
    let query = [("ring", &*ring), ("channel", channel)];
    let answer: Members = decode(&ask(settings, "/members", &query, None)?)?;
    Ok(print(&list(&answer)))
}

/// Disconnects one connection, all of a user, or all.
///
/// # Errors
/// See [`channels`]; also if the socket or user id is invalid, or nobody was found.
pub fn disconnect(settings: &Settings, arguments: &DisconnectArgs) -> Result<ExitCode, String> {
    let whom = whom(arguments)?;
    let body = match whom {
        Whom::Socket(id) => json!({ "socket_id": id }),
        Whom::User(user) => json!({ "user": user }),
        Whom::All => json!({ "all": true }),
    };
    let ring = ring(settings, &arguments.common)?;
    let (query, body) = ([("ring", &*ring)], body.to_string());
    let answer = ask(settings, "/disconnect", &query, Some(&body))?;
    let Ended {
        ended,
        hosts_missing,
    } = decode(&answer)?;
    warn_of(hosts_missing);
    match (ended, whom) {
        (0, Whom::Socket(id)) => {
            // It may have been meant as a user's.
            let hint = match arguments.target {
                Some(_) => format!("; if it is a user's id, say --user {id}"),
                None => String::new(),
            };
            Err(format!("no connection has the socket id {id}{hint}"))
        }
        (0, Whom::User(user)) => Err(format!(
            "user {user} has no connection; tokens issued to them until now are refused from now on"
        )),
        (1, _) => Ok(print("1 connection ended\n")),
        _ => Ok(print(&format!("{ended} connections ended\n"))),
    }
}

/// Who is to be disconnected.
#[derive(Clone, Copy)]
enum Whom<'a> {
    Socket(&'a str),
    User(&'a str),
    All,
}

fn whom(arguments: &DisconnectArgs) -> Result<Whom<'_>, String> {
    let socket = |id| match grant::socket_id(id) {
        Some(_) => Ok(Whom::Socket(id)),
        None => Err("--socket must be a socket id, such as 123.456".to_owned()),
    };
    let user = |what: &str, user| match grant::any_user(str::as_bytes(user)) {
        Ok(()) => Ok(Whom::User(user)),
        Err(why) => Err(format!("{what} {why}")),
    };
    match (&arguments.socket, &arguments.user, &arguments.target) {
        (Some(id), ..) => socket(id),
        (_, Some(id), _) => user("--user", id),
        (.., Some(either)) if names_socket(either) => Ok(Whom::Socket(either)),
        (.., Some(either)) => user("socket or user", either),
        // The command line requires `--all` then.
        (None, None, None) => Ok(Whom::All),
    }
}

/// The ring that identifies the application to the daemon. If there are several, one must be named.
pub(super) fn ring(settings: &Settings, source: &Source) -> Result<String, String> {
    if let Some(ring) = &source.ring {
        return Ok(ring.clone());
    }
    let rings: Vec<String> = settings
        .applications()
        .into_iter()
        .map(|(app, ..)| app.ring)
        .collect();
    match &rings[..] {
        [ring] => Ok(ring.clone()),
        _ => Err(format!(
            "there are several applications: name one by its ring, --ring {}",
            rings.join(" or ")
        )),
    }
}

pub(super) fn decode<T: DeserializeOwned>(answer: &[u8]) -> Result<T, String> {
    serde_json::from_slice(answer).map_err(|why| {
        format!("askrd gave an answer that cannot be understood: {why}; is it of another version?")
    })
}

/// One line a channel: subscribers, name.
fn table(answer: &Channels) -> String {
    let line = |(name, count): (&String, &u64)| format!("{count:>9}  {name}\n");
    answer.channels.iter().map(line).collect()
}

/// One line a member: id, and info as JSON.
fn list(answer: &Members) -> String {
    let line = |member: &Member| match &member.info {
        Some(info) => format!("{}  {info}\n", member.id),
        None => format!("{}\n", member.id),
    };
    answer.members.iter().map(line).collect()
}

/// Says on standard error what the answer lacks, so that the output itself stays what scripts read.
fn warn_of(hosts_missing: u64) {
    if hosts_missing > 0 {
        terminal::complain(&lacking(hosts_missing));
    }
}

fn lacking(hosts: u64) -> String {
    match hosts {
        1 => "askrd: 1 host did not answer in time: its part is lacking".to_owned(),
        _ => format!("askrd: {hosts} hosts did not answer in time: their part is lacking"),
    }
}

pub(super) fn print(text: &str) -> ExitCode {
    // A reader that closes the pipe, as `head` does, is not an error.
    let _ = terminal::print(text);
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_a_line_with_its_subscribers() {
        let answer = decode(br#"{"channels":{"b":3,"a b":12345}}"#).unwrap();
        assert_eq!(table(&answer), "    12345  a b\n        3  b\n");
        assert_eq!(table(&decode(br#"{"channels":{}}"#).unwrap()), "");
    }

    #[test]
    fn a_member_is_a_line_with_its_info_unchanged() {
        let answer =
            br#"{"members":[{"id":"7","info":{"name":"\u00c6", "n":1.0}},{"id":"8","info":null}]}"#;
        let answer = decode(answer).unwrap();
        assert_eq!(list(&answer), "7  {\"name\":\"\\u00c6\", \"n\":1.0}\n8\n");
    }

    #[test]
    fn hosts_that_did_not_answer_are_counted() {
        let missing = |answer: &[u8]| decode::<Channels>(answer).unwrap().hosts_missing;
        assert_eq!(missing(br#"{"channels":{},"hosts_missing":2}"#), 2);
        assert_eq!(
            missing(br#"{"channels":{}}"#),
            0,
            "older askrds, and one host"
        );
        assert!(lacking(1).starts_with("askrd: 1 host did not answer"));
        assert!(lacking(2).starts_with("askrd: 2 hosts did not answer"));
    }

    #[test]
    fn an_unknown_answer_is_an_error() {
        for answer in [
            &b""[..],
            b"ok\n",
            br#"{"channels":3}"#,
            br#"{"members":[]}"#,
        ] {
            let why = decode::<Channels>(answer).err().unwrap();
            assert!(why.contains("cannot be understood"), "{why}");
        }
    }

    #[test]
    fn the_default_ring_is_that_of_the_only_application() {
        let source = |ring: Option<&str>| Source {
            config: None,
            ring: ring.map(str::to_owned),
        };
        let mut settings = Settings::default();
        assert_eq!(ring(&settings, &source(None)).unwrap(), "/askr");
        for name in ["/a", "/b"] {
            let mut app = settings.app.clone();
            app.ring = name.to_owned();
            settings.apps.push(app);
        }
        let why = ring(&settings, &source(None)).unwrap_err();
        assert!(why.ends_with("--ring /a or /b"), "{why}");
        assert_eq!(ring(&settings, &source(Some("/b"))).unwrap(), "/b");
    }
}

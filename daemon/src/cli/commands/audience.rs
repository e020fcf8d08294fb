//! `askrd channels`, `askrd members`, `askrd disconnect`: who listens, and an end to it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;
use shared::grant::{self, names_socket};
use shared::rules;

use super::control_client::ask;
use crate::cli::arguments::{ChannelsArgs, DisconnectArgs, MembersArgs, Source};
use crate::config::Settings;

#[derive(Deserialize)]
struct Channels {
    channels: BTreeMap<String, u64>,
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
}

/// # Errors
/// A sentence, if the daemon cannot be asked or refuses; so below.
pub fn channels(settings: &Settings, arguments: &ChannelsArgs) -> Result<ExitCode, String> {
    let ring = ring(settings, &arguments.common)?;
    let prefix = arguments.prefix.as_deref().unwrap_or_default();
    let query = [("ring", &*ring), ("prefix", prefix)];
    let answer: Channels = decode(&ask(settings, "/channels", &query, None)?)?;
    Ok(print(&table(&answer)))
}

/// # Errors
/// See [`channels`].
pub fn members(settings: &Settings, arguments: &MembersArgs) -> Result<ExitCode, String> {
    let channel = &arguments.channel;
    rules::channel(channel.as_bytes()).map_err(|why| format!("channel {why}"))?;
    let ring = ring(settings, &arguments.common)?;
    let query = [("ring", &*ring), ("channel", channel)];
    let answer: Members = decode(&ask(settings, "/members", &query, None)?)?;
    Ok(print(&list(&answer)))
}

/// # Errors
/// See [`channels`].
pub fn disconnect(settings: &Settings, arguments: &DisconnectArgs) -> Result<ExitCode, String> {
    let body = match &arguments.whom {
        // The command line lets nothing else through.
        None => json!({ "all": true }),
        Some(whom) => {
            grant::user(whom.as_bytes()).map_err(|why| format!("socket or user {why}"))?;
            match names_socket(whom) {
                true => json!({ "socket_id": whom }),
                false => json!({ "user": whom }),
            }
        }
    };
    let ring = ring(settings, &arguments.common)?;
    let (query, body) = ([("ring", &*ring)], body.to_string());
    let Ended { ended } = decode(&ask(settings, "/disconnect", &query, Some(&body))?)?;
    let connections = if ended == 1 {
        "connection"
    } else {
        "connections"
    };
    Ok(print(&format!("{ended} {connections} ended\n")))
}

/// The ring by which the daemon knows the application. Of several, one has to be named.
fn ring(settings: &Settings, source: &Source) -> Result<String, String> {
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

fn decode<T: DeserializeOwned>(answer: &[u8]) -> Result<T, String> {
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

fn print(text: &str) -> ExitCode {
    // A reader that went away, as `head` does, is no failure.
    let _ = io::stdout().lock().write_all(text.as_bytes());
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
    fn a_member_is_a_line_with_its_info_as_it_is() {
        let answer =
            br#"{"members":[{"id":"7","info":{"name":"\u00c6", "n":1.0}},{"id":"8","info":null}]}"#;
        let answer = decode(answer).unwrap();
        assert_eq!(list(&answer), "7  {\"name\":\"\\u00c6\", \"n\":1.0}\n8\n");
    }

    #[test]
    fn what_is_not_understood_is_told() {
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
    fn the_ring_is_the_applications_unless_one_is_named() {
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

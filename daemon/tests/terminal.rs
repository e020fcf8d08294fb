//! What others chose, a channel, a user, a payload, reaches no terminal as it is: no command prints, and no line of the log
//! has, what a terminal would obey or what changes unseen how other text looks.

use std::process::Command;

use crate::common;
use crate::common::grants::{SECRET, token_of};
use crate::common::{Daemon, askrd, write_settings};
use nix::sys::signal::Signal;
use serde_json::Value;

/// What a name may have: directions of writing, no width, a line's end that is no control character, a tag.
const NAME: &str =
    "\u{202e}\u{2066}\u{200e}\u{61c}\u{200b}\u{200d}\u{feff}\u{2028}\u{2029}\u{e0041}";
/// The same, as it is printed.
const SHOWN: &str = r"\u202e\u2066\u200e\u061c\u200b\u200d\ufeff\u2028\u2029\udb40\udc41";
/// What a payload may have besides; and an event's name, but for the line's end.
const OBEYED: &str = "\x1b]0;owned\x07\x1b[2J\u{9b}2J\u{7f}\u{85}\x08";
const DATA: &str = "\x1b[2J\r\n\u{9b}2J\u{7f}\u{202e}";

/// Written by itself here, not with what askrd escapes by.
fn is_harmless(c: char) -> bool {
    let code = u32::from(c);
    let controls = code < 0x20 && c != '\n' && c != '\t' || (0x7f..0xa0).contains(&code);
    let unseen = [0x61c, 0xfeff].contains(&code)
        || (0x200b..0x2010).contains(&code)
        || (0x2028..0x202f).contains(&code)
        || (0x2060..0x2070).contains(&code)
        || (0xe0000..0xe1000).contains(&code);
    !controls && !unseen
}

#[track_caller]
fn harmless(text: &str) {
    let harmful = text.chars().find(|c| !is_harmless(*c));
    assert!(harmful.is_none(), "{harmful:?} in {text:?}");
}

struct Commands<'a>(&'a Daemon);

impl Commands<'_> {
    /// What the command prints, on either output.
    #[track_caller]
    fn say(&self, arguments: &[&str]) -> String {
        let mut command = askrd();
        command.args(arguments).arg("--config");
        Self::output(command.arg(self.0.config()))
    }

    #[track_caller]
    fn output(command: &mut Command) -> String {
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        let text = text.concat();
        harmless(&text);
        text
    }

    /// The one line that it prints, which is JSON.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.say(arguments);
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
    }
}

#[test]
fn no_command_prints_what_others_chose_as_it_is() {
    let daemon = Daemon::start(&format!("app.secret = '{SECRET}'"));
    let (room, user) = (format!("presence-{NAME}"), format!("u{NAME}"));
    let token = token_of(&user, &[&room], 600);
    let room_in_query: String = room.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut member = daemon.open_with(&format!("channel={room_in_query}&token={token}"), &[]);
    let event = format!("e{OBEYED}{NAME}");
    let id = format!("i{OBEYED}{NAME}");
    let mut publisher = daemon.publisher();
    common::publish(&mut publisher, &[&room], Some(&event), Some(&id), DATA);
    while member.next().event != event {}
    let all = Commands(&daemon);
    let shown_room = format!("presence-{SHOWN}");

    assert!(all.say(&["channels"]).contains(&shown_room));
    let said = all.say(&["members", &room]);
    let info = format!(r#"u{SHOWN}  {{"name":"user u{SHOWN}"}}"#);
    assert!(said.contains(&info), "{said}");
    for verb in [
        &["history", &room][..],
        &["tail", &room, "--history", "--count", "1"],
    ] {
        let line = all.json(verb);
        assert_eq!(
            (&line["event"], &line["id"]),
            (&event.as_str().into(), &id.as_str().into())
        );
        assert_eq!(line["data"], DATA);
    }
    for verb in [&["trace", &room, "--seconds", "0.1"][..], &["stats"]] {
        assert!(!all.say(verb).is_empty());
    }
    // What is refused is quoted.
    let absent = format!("absent{NAME}");
    let said = all.say(&["disconnect", "--user", &absent]);
    assert!(said.contains(&format!("absent{SHOWN}")), "{said}");
    for verb in [
        &["members", NAME][..],
        &["forget", &room],
        &["publish", &room, "x", "--event", &format!("pusher:{NAME}")],
        &["channels", &format!("--{NAME}")],
        &["health", OBEYED],
        &["trace", &room, "--seconds", NAME],
        &["nodes"],
    ] {
        assert!(!all.say(verb).is_empty(), "{verb:?}");
    }
    let url = format!("http://127.0.0.1:9/{NAME}");
    for form in [&["--json"][..], &[]] {
        let verb = [&["doctor", "--no-event", "--url", &url][..], form];
        assert!(!all.say(&verb.concat()).is_empty());
    }
}

#[test]
fn settings_are_shown_without_harm_where_they_are_refused_and_where_they_are_not() {
    let key = format!("server.\"k{NAME}{}\" = 1", r"\u001b[2J\u009b");
    let (code, words) = common::check(&key);
    assert_eq!(code, Some(2), "{words}");
    harmless(&words);
    assert!(words.contains(SHOWN), "{words}");
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join(format!("askr{NAME}.toml"));
    write_settings(&config, &format!("server.control = '/run/{NAME}.sock'"));
    let check = |file: &std::path::Path| {
        let mut check = askrd();
        Commands::output(check.args(["check", "--config"]).arg(file))
    };
    let said = check(&config);
    assert!(said.contains(&format!("/run/{SHOWN}.sock")), "{said}");
    let said = check(&directory.path().join(format!("{NAME}.toml")));
    assert!(said.contains(SHOWN), "{said}");
}

#[test]
fn lines_of_the_log_are_without_harm() {
    let daemon = Daemon::start("");
    let mut settings = std::fs::read_to_string(daemon.config()).unwrap();
    settings += &format!("\nserver.\"k{NAME}{}\" = 1\n", r"\u001b[2J\u009b");
    write_settings(&daemon.config(), &settings);
    daemon.signal(Signal::SIGHUP);
    let lines = daemon.says_until("not reloaded");
    lines.iter().for_each(|line| harmless(line));
    assert!(lines.concat().contains(SHOWN), "{lines:?}");
}

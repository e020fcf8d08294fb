//! `askrd drain`: viewers of every transport are let go at a pace, nothing is lost, new ones are asked to come back,
//! everybody is told, and it can be undone.

use std::process::{Child, Command, Output, Stdio};

use crate::common::api::get;
use crate::common::grants::{Said, request};
use crate::common::ws::{Pusher, Socket, app, data};
use crate::common::{Client, Daemon, askrd};
use serde_json::{Value, json};

const PUSHER: &str = "/app/app-key?protocol=7&client=js&version=8.4.0";
const PLAIN: &str = "/askr/ws?channel=a";

fn order(daemon: &Daemon, body: Value) -> Said {
    daemon.ask("POST", "/drain", &body.to_string())
}

fn drained(daemon: &Daemon) -> Value {
    daemon.ask("GET", "/drain", "").json()
}

fn up(daemon: &Daemon) -> (u16, String) {
    let said = request(daemon.address, "GET", "/up", "", "");
    (said.status, said.body)
}

fn ready(daemon: &Daemon) -> String {
    let said = daemon.ask("GET", "/readyz", "");
    format!("{} {}", said.status, said.body)
}

/// One of each transport, on the channel `a`.
struct Viewers {
    raw: Client,
    json: Client,
    plain: Socket,
    pusher: Pusher,
    recovering: Pusher,
}

impl Viewers {
    fn open(daemon: &Daemon) -> Self {
        let mut plain = Socket::open(daemon.address, PLAIN, &[]);
        plain.until(|message| message.get("subscribed").is_some());
        let (mut pusher, mut recovering) = (Pusher::connect(daemon), Pusher::recovering(daemon));
        pusher.subscribe("a");
        recovering.subscribe("a");
        Self {
            raw: daemon.open("a"),
            json: daemon.open_with("channel=a&format=json", &[]),
            plain,
            pusher,
            recovering,
        }
    }

    fn take(&mut self, text: &str) {
        assert_eq!(self.raw.next().data, text);
        let event: Value = serde_json::from_str(&self.json.next().data).unwrap();
        assert_eq!(event["data"], text);
        let plain = self.plain.until(|message| message.get("data").is_some());
        assert_eq!(plain["data"], text);
        assert_eq!(self.pusher.take("a", 1), [text]);
        assert_eq!(self.recovering.take("a", 1), [text]);
    }
}

/// Soon, as after a restart.
fn is_soon(retry: Option<u64>) -> bool {
    (200..=400).contains(&retry.expect("told when to come back"))
}

#[test]
fn while_it_drains_those_who_stay_are_served_and_new_ones_are_asked_to_come_back() {
    let daemon = Daemon::start(&app(""));
    let mut viewers = Viewers::open(&daemon);
    assert_eq!(up(&daemon), (200, r#"{"health":"OK"}"#.into()));

    // First only what load balancers look at says so.
    let said = order(&daemon, json!({"over": 86_400, "notice": 86_400}));
    assert_eq!((said.status, &said.json()["left"]), (200, &json!(5)));
    assert_eq!(said.json()["draining"], true);
    assert_eq!(said.json()["turns_away"], false);
    assert_eq!(ready(&daemon), "503 draining: 5 viewers are left\n");
    assert_eq!(up(&daemon), (503, r#"{"health":"not ready"}"#.into()));
    assert_eq!(daemon.metric("askr_draining"), 1);
    assert!(daemon.open("a").opens(), "they are welcome until it begins");

    // It replaces the one before. In a day five viewers are not let go at once.
    daemon.until("askr_streams", |streams| streams == 5);
    order(&daemon, json!({"over": 86_400}));
    assert_eq!(drained(&daemon)["turns_away"], true);
    let mut late = daemon.open("a");
    assert!(!late.opens());
    let usual = late.parser.retry().unwrap();
    assert!((1500..=2500).contains(&usual), "{usual}");
    for target in [PUSHER, PLAIN] {
        let mut late = Socket::open(daemon.address, target, &[]);
        let (_, code, why) = late.end();
        assert_eq!(code, 4100, "{why}");
        assert!(why.contains("being drained"), "{why}");
    }
    assert_eq!(daemon.metric("askr_refused_total{limit=\"drain\"}"), 3);
    // What is no viewer is answered.
    assert_eq!(get(&daemon, "/apps/7/channels", &[]).status, 200);
    let me = viewers.raw.me();
    assert_eq!(daemon.subscribe(&me, &["b"], Value::Null), ["a", "b"]);
    daemon.publish("a", "while it drains");
    viewers.take("while it drains");

    let said = order(&daemon, json!({"stop": true}));
    assert_eq!(said.json()["draining"], false);
    assert!(ready(&daemon).starts_with("200 ready"));
    assert_eq!(up(&daemon).0, 200);
    assert_eq!(daemon.metric("askr_draining"), 0);
    daemon.says("the drain was stopped");
    assert!(daemon.open("a").opens());
    daemon.publish("a", "after it");
    viewers.take("after it");
}

#[test]
fn every_transport_is_told_to_come_back_and_goes_on_where_it_was() {
    let daemon = Daemon::start(&app("server.workers = 2"));
    let mut viewers = Viewers::open(&daemon);
    daemon.publish("a", "before");
    viewers.take("before");
    let cursor = viewers.raw.parser.last_event_id().to_owned();
    order(&daemon, json!({"over": 0}));

    for mut client in [viewers.raw, viewers.json] {
        assert_eq!(client.end(), []);
        assert!(is_soon(client.parser.retry().map(u64::from)));
    }
    let (before, code, _) = viewers.plain.end();
    assert_eq!(code, 4200);
    let told = before.last().and_then(|last| last["retry"].as_u64());
    assert!(is_soon(told), "{before:?}");
    let id = |hello: &Value| data(hello);
    for mut pusher in [viewers.pusher, viewers.recovering] {
        let (before, code, _) = pusher.ws.end();
        assert_eq!(code, 4200, "{before:?}");
    }
    daemon.says("drained: no viewer is left");
    assert_eq!(drained(&daemon)["left"], 0);
    assert_eq!(
        daemon.metric("askr_streams_ended_total{reason=\"drain\"}"),
        5
    );
    // What is published meanwhile is there for those who come back, here or elsewhere.
    daemon.publish("a", "meanwhile");
    order(&daemon, json!({"stop": true}));
    assert_eq!(daemon.resume("a", &cursor).take(1), ["meanwhile"]);
    let mut pusher = Pusher::recovering(&daemon);
    let told = pusher.subscribe_since("a", Some(&cursor));
    assert!(id(&told).is_object(), "{told}");
    assert_eq!(pusher.take("a", 1), ["meanwhile"]);
}

#[test]
fn viewers_are_let_go_one_after_the_other_and_none_loses_an_event() {
    let daemon = Daemon::start("server.workers = 2\nserver.connections_per_address = 0");
    const VIEWERS: usize = 60;
    let mut clients: Vec<Client> = (0..VIEWERS).map(|_| daemon.open("a")).collect();
    order(&daemon, json!({"over": 3}));
    let (mut left, mut sent, mut steps) = (VIEWERS as u64, 0, 0);
    while left > 0 {
        daemon.publish("a", &sent.to_string());
        sent += 1;
        let now = drained(&daemon)["left"].as_u64().unwrap();
        assert!(now <= left, "nobody new");
        steps += u64::from(now < left);
        left = now;
    }
    assert!(steps > 3, "not all at once: {steps}");
    let mut got = Vec::new();
    for client in &mut clients {
        let data: Vec<String> = client.end().into_iter().map(|event| event.data).collect();
        got.push((data, client.parser.last_event_id().to_owned()));
        assert!(is_soon(client.parser.retry().map(u64::from)));
    }
    order(&daemon, json!({"stop": true}));
    daemon.publish("a", "the last");
    for (mut data, cursor) in got {
        let mut again = daemon.resume("a", &cursor);
        while data.last().is_none_or(|last| last != "the last") {
            data.push(again.next().data);
        }
        let all = (0..sent).map(|n: u64| n.to_string());
        let all: Vec<String> = all.chain(["the last".into()]).collect();
        assert_eq!(data, all);
    }
}

#[test]
fn a_member_who_is_let_go_is_still_there_when_it_comes_back() {
    let daemon = Daemon::start(&app("app.presence_grace = 3600"));
    let mut watcher = Pusher::connect(&daemon);
    let mut member = Pusher::connect(&daemon);
    watcher.join("presence-a", "1");
    member.join("presence-a", "2");
    assert_eq!(watcher.next()["event"], "pusher_internal:member_added");
    order(&daemon, json!({"over": 0}));
    for mut one in [watcher, member] {
        assert_eq!(one.ws.code(), 4200);
    }
    assert_eq!(daemon.members("presence-a"), ["1", "2"]);
    order(&daemon, json!({"stop": true}));
    let mut back = Pusher::connect(&daemon);
    let told = back.join("presence-a", "1");
    assert_eq!(data(&told)["presence"]["count"], 2, "{told}");
}

fn command(daemon: &Daemon, more: &[&str]) -> Command {
    let mut command = askrd();
    command.args(["drain", "--config"]).arg(daemon.config());
    command.args(more);
    command
}

fn text(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn the_command_says_how_many_are_left_and_ends_with_the_last_one() {
    let daemon = Daemon::start("");
    let mut clients: Vec<Client> = (0..3).map(|_| daemon.open("a")).collect();
    let output = command(&daemon, &["--over", "1", "--notice", "0"]).output();
    let (code, said, error) = text(&output.unwrap());
    assert_eq!((code, error.as_str()), (0, ""), "{said}");
    assert!(said.starts_with("draining: "), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("drained: no viewer is left"), "{said}");
    clients.iter_mut().for_each(|client| drop(client.end()));

    let stats = askrd()
        .args(["stats", "--config"])
        .arg(daemon.config())
        .output();
    let (_, said, _) = text(&stats.unwrap());
    assert!(
        said.starts_with("not ready: draining: 0 viewers are left"),
        "{said}"
    );

    let stop = || text(&command(&daemon, &["--stop"]).output().unwrap());
    let welcome = "new viewers are welcome again\n";
    assert_eq!(stop(), (0, welcome.into(), String::new()));
    assert_eq!(stop(), (0, welcome.into(), String::new()));
    assert!(daemon.open("a").opens());

    // Somebody else stops it.
    let _stays = daemon.open("a");
    let waits: Child = command(&daemon, &["--over", "86400"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    daemon.until("askr_draining", |draining| draining == 1);
    stop();
    let (code, _, error) = text(&waits.wait_with_output().unwrap());
    assert_eq!(
        (code, error.as_str()),
        (1, "askrd: the drain was stopped\n")
    );
}

#[test]
fn what_makes_no_sense_is_refused_and_others_may_not_drain() {
    use std::os::unix::process::CommandExt;
    let daemon = Daemon::start("");
    for (body, says) in [
        ("", "the body must be"),
        ("{}", "the body must be"),
        (r#"{"stop":false}"#, "the body must be"),
        (r#"{"notice":1}"#, "the body must be"),
        (r#"{"over":1,"stop":true}"#, "the body must be"),
        (r#"{"over":1,"more":1}"#, "the body must be"),
        (r#"{"over":-1}"#, "over must be 0 to 86400 seconds"),
        (r#"{"over":86401}"#, "over must be 0 to 86400 seconds"),
        (r#"{"over":1,"notice":1e300}"#, "notice must be 0 to 86400"),
    ] {
        let said = daemon.ask("POST", "/drain", body);
        assert_eq!(said.status, 400, "{body} {said:?}");
        assert!(said.body.contains(says), "{body} {said:?}");
    }
    assert_eq!(daemon.ask("PUT", "/drain", "").status, 405);
    let (code, _, error) = text(&command(&daemon, &["--over", "nan"]).output().unwrap());
    assert!(code == 1 && error.contains("the body must be"), "{error}");
    assert_eq!(drained(&daemon)["draining"], false);

    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let open = |path: &std::path::Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
    };
    open(daemon.directory.path(), 0o755);
    open(&daemon.directory.path().join("control.sock"), 0o666);
    open(&daemon.config(), 0o644);
    let output = command(&daemon, &[]).uid(65534).gid(65534).output();
    let (code, _, error) = text(&output.unwrap());
    assert!(
        code == 1 && error.contains("only root and askrd's own user"),
        "{error}"
    );
}

#[test]
fn a_stop_in_the_middle_ends_it_as_any_other() {
    let mut daemon = Daemon::start("");
    let mut viewer = daemon.open("a");
    order(&daemon, json!({"over": 86_400}));
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(viewer.end(), []);
    assert!(is_soon(viewer.parser.retry().map(u64::from)));
    daemon.restart();
    assert!(ready(&daemon).starts_with("200 ready"));
    assert!(daemon.open("a").opens());
}

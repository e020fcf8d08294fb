//! The daemon's life: start, stop, kill, a second one; its verbs; a ring that cannot be trusted.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use crate::common::{Client, Daemon, askrd, publish};
use nix::sys::signal::Signal;

fn output(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn sigterm_takes_leave_of_everybody_and_ends_with_0() {
    let mut daemon = Daemon::start("");
    let mut client = daemon.open("a");
    daemon.publish("a", "last");
    assert_eq!(client.next().data, "last");
    assert_eq!(client.parser.retries(), 1);
    assert!(daemon.control("/readyz").starts_with("HTTP/1.1 200 "));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(client.end(), []);
    let retry = client.parser.retry().unwrap();
    // Of so few: soon.
    assert!((200..=400).contains(&retry), "{retry}");
    assert_eq!(client.parser.retries(), 2);
    assert_eq!(daemon.wait().code(), Some(0));
    let socket = daemon.directory.path().join("askrd.sock");
    assert!(!socket.exists() && daemon.ring().exists());
}

#[test]
fn a_shutdown_spreads_the_return_of_clients_by_their_number() {
    // 30 connections at 10 a second: 3 s.
    let mut daemon = Daemon::start("server.reconnect_rate = 10");
    let mut clients: Vec<Client> = (0..30).map(|_| daemon.open("a")).collect();
    daemon.signal(Signal::SIGTERM);
    let told: Vec<u32> = clients
        .iter_mut()
        .map(|client| {
            assert_eq!(client.end(), []);
            client.parser.retry().unwrap()
        })
        .collect();
    assert!(told.iter().all(|ms| (200..=3200).contains(ms)), "{told:?}");
    // That none of them has the later half is less likely than 1 to 10^9.
    assert!(told.iter().any(|ms| *ms > 1700), "{told:?}");
    assert!(told.iter().any(|ms| *ms < 1700), "{told:?}");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn who_is_admitted_during_a_shutdown_is_told_to_come_back_as_all_are() {
    let application = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/auth", application.local_addr().unwrap());
    let mut daemon = Daemon::start(&format!("server.workers = 1\napp.auth_url = '{url}'"));
    let mut there = daemon.open("a");
    let mut late = Client::connect(daemon.address);
    late.ask("/askr/events?channel=private-a", &[("Cookie", "a=b")]);
    let (mut call, _) = application.accept().unwrap();
    let mut question = String::new();
    while !question.contains("private-a") {
        let mut bytes = [0; 4096];
        let n = call.read(&mut bytes).unwrap();
        question += std::str::from_utf8(&bytes[..n]).unwrap();
    }
    daemon.signal(Signal::SIGTERM);
    // The worker has taken leave of who was there.
    assert_eq!(there.end(), []);
    let answer = r#"{"channels":{"private-a":true}}"#;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", answer.len());
    write!(call, "{head}\r\n{answer}").unwrap();
    late.read_head();
    assert!(late.head.starts_with("HTTP/1.1 200 "), "{}", late.head);
    assert_eq!(late.end(), []);
    let retry = late.parser.retry().unwrap();
    assert!((200..=400).contains(&retry), "{retry}");
    assert_eq!(late.parser.retries(), 1);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_shutdown_does_not_wait_for_a_client_that_takes_nothing() {
    let room = "server.outbox_bytes = '64MiB'\nserver.outbox_frames = 100000";
    let mut daemon = Daemon::start(&format!("server.drain = 600\nring.arena = '64MiB'\n{room}"));
    let stalled = daemon.open("a");
    let mut reading = daemon.open("b");
    let mut publisher = daemon.publisher();
    while daemon.metric("askr_outbox_bytes") == 0 {
        publish(&mut publisher, &["a"], None, None, &"x".repeat(200_000));
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(reading.end(), []);
    // By itself, long before what server.drain allows.
    assert_eq!(daemon.wait().code(), Some(0));
    drop(stalled);
}

#[test]
fn a_shutdown_does_not_wait_for_ever_and_a_second_signal_ends_it_at_once() {
    // Room for whatever is published before the outbox is seen to be in use.
    let room = "server.outbox_bytes = '64MiB'\nserver.outbox_frames = 100000";
    let mut daemon = Daemon::start(&format!("server.drain = 600\nring.arena = '64MiB'\n{room}"));
    let slow = daemon.open("a");
    let mut publisher = daemon.publisher();
    // It has something to take, and does not.
    while daemon.metric("askr_outbox_bytes") == 0 {
        publish(&mut publisher, &["a"], None, None, &"x".repeat(200_000));
    }
    daemon.signal(Signal::SIGTERM);
    // The doors are closed first.
    while std::net::TcpStream::connect(daemon.address).is_ok() {}
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.wait().code(), Some(0));
    drop(slow);
}

#[test]
fn after_a_kill_the_history_is_there_and_what_was_published_meanwhile() {
    let mut daemon = Daemon::start("");
    let mut client = daemon.open("a");
    let before = client.cursor();
    for n in 0..50 {
        daemon.publish("a", &n.to_string());
    }
    assert_eq!(client.take(50).len(), 50);
    let cursor = client.parser.last_event_id().to_owned();
    daemon.signal(Signal::SIGKILL);
    client.end();
    for n in 50..100 {
        daemon.publish("a", &n.to_string());
    }
    daemon.restart();
    let due: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(daemon.resume("a", &cursor).take(50), due[50..]);
    assert_eq!(daemon.resume("a", &before).take(100), due);
}

#[test]
fn a_second_daemon_refuses_to_start_and_says_why() {
    let daemon = Daemon::start("");
    let (code, _, err) = output(
        askrd()
            .args(["serve", "--listen", "127.0.0.1:0", "--ring"])
            .arg(daemon.ring()),
    );
    assert_eq!(code, 1);
    assert!(
        err.contains("another askrd") && err.contains(daemon.ring().to_str().unwrap()),
        "{err}"
    );
    daemon.publish("a", "x");
}

#[test]
fn a_changed_size_keeps_the_history() {
    let mut daemon = Daemon::start("");
    let before = daemon.open("a").cursor();
    daemon.publish("a", "1");
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let config = std::fs::read_to_string(daemon.config()).unwrap();
    std::fs::write(daemon.config(), format!("{config}\nring.slots = 1024\n")).unwrap();
    daemon.restart();
    daemon.publish("a", "2");
    assert_eq!(daemon.resume("a", &before).take(2), ["1", "2"]);
}

#[test]
fn a_ring_that_was_cut_short_is_replaced_and_everybody_is_told() {
    let daemon = Daemon::start("");
    let mut client = daemon.open("a");
    daemon.publish("a", "1");
    assert_eq!(client.next().data, "1");
    let old = client.parser.last_event_id().to_owned();
    std::fs::File::options()
        .write(true)
        .open(daemon.ring())
        .unwrap()
        .set_len(0)
        .unwrap();
    let gap = client.next();
    assert_eq!(
        (gap.event.as_str(), gap.data.as_str()),
        ("askr:gap", r#"{"lost":null,"at_most":null}"#)
    );
    assert_ne!(gap.id[..12], old[..12], "another epoch");
    daemon.publish("a", "2");
    assert_eq!(client.next().data, "2");
    let mut back = daemon.resume("a", &old);
    assert_eq!(back.next().event, "askr:gap");
    assert_eq!(back.next().data, "2");
}

#[test]
fn check_names_the_file_the_key_and_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("askr.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        output(askrd().args(["check", "--config"]).arg(&file))
    };
    let (code, _, err) = check("[server]\nlissen = ['x']\n");
    assert_eq!(code, 2);
    assert!(
        err.starts_with(&format!(
            "askrd: {}: server.lissen: unknown key",
            file.display()
        )),
        "{err}"
    );
    // What only this machine can tell is said before a start, too.
    for (text, key) in [
        ("[ring]\ngroup = 'no-such-group'\n", "ring.group"),
        (
            "[server]\nsocket_group = 'no-such-group'\n",
            "server.socket_group",
        ),
    ] {
        let (code, _, err) = check(text);
        let says = format!("askrd: {}: {key}: ", file.display());
        assert!(code == 2 && err.starts_with(&says), "{err}");
        assert!(err.contains("\"no-such-group\" does not exist"), "{err}");
    }
    let (code, out, err) = check("[server]\nping = 20\n");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains(&format!("\nping = 20.0  # {}\n", file.display()))
            && out.contains("\nslots = 32768\n"),
        "with the place of what is not the default: {out}"
    );
    // What it prints is a file that it accepts.
    let values = |text: &str| text.parse::<toml::Table>().unwrap();
    assert_eq!(values(&check(&out).1), values(&out));
    let missing = directory.path().join("missing.toml");
    let (code, _, err) = output(askrd().args(["serve", "--config"]).arg(&missing));
    assert!(code == 2 && err.contains("missing.toml"), "{err}");
}

#[test]
fn tail_and_publish_work_on_a_live_ring() {
    let daemon = Daemon::start("");
    let mut client = daemon.open("a");
    let verb = |verb: &[&str]| {
        let mut command = askrd();
        command.args(verb).arg("--ring").arg(daemon.ring());
        command
    };
    daemon.publish("b", "not this one");
    let published = output(&mut verb(&[
        "publish", "a", "x\ny", "--event", "e", "--id", "i", "--retry", "7",
    ]));
    assert_eq!(published, (0, String::new(), String::new()));
    let message = client.next();
    assert_eq!(
        (message.event, message.data, message.id),
        ("e".into(), "x\ny".into(), "i".into())
    );

    let mut piped = verb(&["publish", "a", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    piped
        .stdin
        .take()
        .unwrap()
        .write_all(b"from stdin")
        .unwrap();
    assert!(piped.wait().unwrap().success());
    assert_eq!(client.next().data, "from stdin");

    let mut tail = verb(&["tail", "a", "--history", "--count", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Vec<serde_json::Value> = BufReader::new(tail.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    assert!(tail.wait().unwrap().success());
    assert_eq!(lines[0]["data"], "x\ny");
    assert_eq!(lines[0]["channels"], serde_json::json!(["a"]));
    assert_eq!(
        (&lines[0]["event"], &lines[0]["id"]),
        (&"e".into(), &"i".into())
    );
    assert_eq!(lines[1]["cursor"], client.parser.last_event_id());

    let (code, _, err) = output(&mut verb(&["publish", "askr:x", "x"]));
    assert!(
        code == 1 && err.contains("channel must not start with \"askr:\""),
        "{err}"
    );
    let (code, _, err) =
        output(askrd().args(["publish", "a", "x", "--ring", "/dev/shm/no-such/ring"]));
    assert!(code == 1 && err.contains("/dev/shm/no-such/ring"), "{err}");
}

#[test]
fn too_few_descriptors_are_told_before_anything_starts() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let ring = directory.path().join("ring");
    let mut command = askrd();
    command
        .args(["serve", "--ring"])
        .arg(&ring)
        .env("ASKR_SERVER_MAX_CONNECTIONS", "2000000000");
    let (code, _, err) = output(&mut command);
    assert!(
        code == 1 && err.contains("server.max_connections") && err.contains("LimitNOFILE"),
        "{err}"
    );
    assert!(!ring.exists());
}

#[test]
fn no_connection_is_refused_while_the_service_manager_holds_the_socket() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut daemon = Daemon::start("");
    let cursor = daemon.open("a").cursor();
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
        daemon.signal(signal);
        daemon.wait();
        // Nobody accepts now; the kernel keeps the client and its request.
        let mut early = Client::connect(address);
        early.ask("/askr/events?channel=a", &[("Last-Event-ID", &cursor)]);
        daemon.publish("a", "meanwhile");
        daemon.activate(&listener);
        assert_eq!(daemon.address, address);
        early.read_head();
        assert!(early.head.starts_with("HTTP/1.1 200 "), "{}", early.head);
        assert_eq!(early.next().data, "meanwhile");
    }
}

#[test]
fn what_was_asked_before_a_restart_is_answered_before_or_after_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut daemon = Daemon::start("");
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    daemon.activate(&listener);
    for _ in 0..3 {
        daemon.signal(Signal::SIGSTOP);
        let mut clients: Vec<Client> = (0..50).map(|_| Client::connect(address)).collect();
        for client in &mut clients {
            client.ask("/askr/events?channel=a", &[]);
        }
        daemon.signal(Signal::SIGTERM);
        daemon.signal(Signal::SIGCONT);
        daemon.wait();
        daemon.activate(&listener);
        for client in &mut clients {
            client.read_head();
            assert!(client.head.starts_with("HTTP/1.1 200 "), "{}", client.head);
        }
    }
}

#[test]
fn stats_are_for_people() {
    let daemon = Daemon::start("");
    let mut client = daemon.open("a");
    daemon.publish("a", "x");
    assert_eq!(client.next().data, "x");
    let run = |config: &std::path::Path| {
        let output = askrd().args(["stats", "--config"]).arg(config).output();
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, out, _) = run(&daemon.config());
    assert_eq!(code, Some(0));
    let has = |value: &str, name: &str| {
        out.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(value) && words.next() == Some(name)
        })
    };
    assert!(
        has("1", "streams") && has("1", "events_read_total"),
        "{out}"
    );
    assert!(out.contains("publish_to_write_seconds p99"), "{out}");
    let nobody = daemon.directory.path().join("nobody.toml");
    std::fs::write(&nobody, "server.control = '/nonexistent/control.sock'").unwrap();
    let (code, _, error) = run(&nobody);
    assert_eq!(code, Some(1));
    assert!(error.contains("/nonexistent/control.sock"), "{error}");
}

#[test]
fn how_events_are_written_is_said_at_the_start() {
    let said = |io: &str| {
        let daemon = Daemon::start(&format!("server.io = '{io}'"));
        let line = daemon.log().iter().find(|line| line.contains("written by"));
        line.expect("it says so").clone()
    };
    assert!(said("write").ends_with("written by one write per stream"));
    // Which of the two it is depends on the kernel.
    let auto = said("auto");
    assert!(
        auto.contains("io_uring") || auto.contains("one write"),
        "{auto}"
    );
}

#[test]
fn a_ring_that_is_not_in_memory_is_warned_of_by_check_and_at_the_start() {
    let in_memory = |directory: &str| {
        let kind = output(Command::new("stat").args(["-f", "-c", "%T", directory])).1;
        ["tmpfs", "ramfs", "hugetlbfs"].contains(&kind.trim())
    };
    let places = [env!("CARGO_TARGET_TMPDIR"), "/var/tmp", "/tmp"];
    let Some(disk) = places.into_iter().find(|place| !in_memory(place)) else {
        eprintln!("all that may be written is in memory: NOT tried");
        return;
    };
    let directory = tempfile::tempdir_in(disk).unwrap();
    let ring = directory.path().join("ring");
    let said = format!("the ring {} is not in memory, but on ", ring.display());
    let check = |ring: &std::path::Path| output(askrd().arg("check").arg("--ring").arg(ring));
    let (code, _, err) = check(&ring);
    assert_eq!(code, 0, "{err}");
    assert!(err.starts_with(&format!("askrd: warning: {said}")), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    let daemon = Daemon::start("");
    assert_eq!(check(daemon.ring().as_ref()).2, "");
    let warned = |daemon: &Daemon| {
        let warnings = daemon.log().iter().filter(|line| line.contains("WARN"));
        warnings
            .filter(|line| line.contains("not in memory"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(warned(&daemon), [""; 0]);
    let log = warned(&Daemon::start(&format!("app.ring = '{}'", ring.display())));
    assert!(log.len() == 1 && log[0].contains(&said), "{log:?}");
}

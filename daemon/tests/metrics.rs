//! `/metrics`: in both forms, on a listener of its own, with what is wrong at publishers; and what is made of it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Daemon, PATIENCE, askrd, exchange, publish, refused};
use shared::failure_report::{Failure, beside};
use shared::publisher::{AttachOptions, Publisher};

const OPENMETRICS: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

/// Reads everything that is answered: head and body.
fn get(mut socket: impl Read + Write, path: &str, accept: &str) -> (String, String) {
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn scrape(daemon: &Daemon, accept: &str) -> (String, String) {
    let path = daemon.directory.path().join("control.sock");
    get(UnixStream::connect(path).unwrap(), "/metrics", accept)
}

/// What viewers are answered at a path.
fn viewers_answer(daemon: &Daemon, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    exchange(daemon.address, head.as_bytes())
}

/// What a program makes of a text, which it must find nothing wrong with.
fn approves(program: &str, arguments: &[&str], text: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("{program}: {why} (.ci/setup test installs it)"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let said = child.wait_with_output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    assert!(said.status.success(), "{program}: {out}{err}");
    format!("{out}{err}")
}

fn two_applications() -> (Daemon, tempfile::TempDir) {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let blog = directory.path().join("ring");
    let settings = format!(
        "[[app]]\nid = 'shop'\n[[app]]\nid = 'blog'\nring = '{}'\n",
        blog.display()
    );
    (Daemon::start(&settings), directory)
}

fn publisher_of(ring: &Path, reports_to: &Path) -> Publisher {
    let mut publisher = Publisher::new();
    let name = ring.to_str().unwrap().parse().unwrap();
    publisher.configure(AttachOptions {
        name,
        owner: None,
        group: None,
    });
    publisher.report_to(Some(reports_to.to_owned()));
    publisher
}

fn fails(publisher: &mut Publisher, data: &[u8]) -> Failure {
    let event = shared::event::EventRef {
        channels: &[b"a"],
        data,
        ..Default::default()
    };
    publisher.publish(&event).unwrap_err().failure
}

#[test]
fn both_forms_are_valid_and_have_the_same_samples() {
    let (daemon, _blog) = two_applications();
    let mut client = daemon.open_with("app=shop&channel=a", &[]);
    daemon.publish("a", "1");
    client.next();
    let (head, prometheus) = scrape(&daemon, "*/*");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"));
    let said = approves("promtool", &["check", "metrics"], &prometheus);
    assert_eq!(said, "", "names by the conventions");
    let (head, openmetrics) = scrape(&daemon, OPENMETRICS);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    let parse = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        for family in parse(sys.stdin.read()):\n  \
          for sample in family.samples: print(sample.name)\n";
    let parsed = approves("/usr/bin/python3", &["-c", parse], &openmetrics);
    let names = |text: &str| -> BTreeSet<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let name = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
        samples.map(name).collect()
    };
    assert_eq!(names(&parsed), names(&prometheus));
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
        "askr_build_info",
    ] {
        assert!(names(&prometheus).contains(name), "{name}");
    }
    let version = format!("askr_build_info{{version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(prometheus.contains(&version));
}

#[test]
fn each_application_is_counted_for_itself() {
    let (daemon, blog) = two_applications();
    let mut blog = publisher_of(&blog.path().join("ring"), Path::new("/nowhere"));
    let _idle = daemon.open_with("app=blog&channel=a&channel=b", &[]);
    let mut client = daemon.open_with("app=shop&channel=a", &[]);
    for n in 0..3 {
        daemon.publish("a", &n.to_string());
        client.next();
    }
    publish(&mut blog, &["elsewhere"], None, None, "x");
    daemon.until(
        "askr_application_events_read_total{application=\"blog\"}",
        |n| n == 1,
    );
    for (name, shop, blog) in [
        ("events_read_total", 3, 1),
        ("events_delivered_total", 3, 0),
        ("subscriptions", 1, 2),
        ("channels", 1, 2),
        ("ring_lag_positions", 0, 0),
        ("publish_to_write_seconds_count", 3, 0),
    ] {
        for (application, expected) in [("shop", shop), ("blog", blog)] {
            // A viewer has an event before it is counted.
            let row = format!("askr_application_{name}{{application=\"{application}\"}}");
            daemon.until(&row, |n| n == expected);
        }
    }
    for application in ["shop", "blog"] {
        let row = |transport: &str| {
            let labels = format!("application=\"{application}\",transport=\"{transport}\"");
            daemon.metric(&format!("askr_application_streams{{{labels}}}"))
        };
        assert_eq!((row("sse"), row("websocket"), row("pusher")), (1, 0, 0));
    }
    assert_eq!(daemon.metric("askr_events_read_total"), 4, "and in all");
    assert_eq!(daemon.metric("askr_channels"), 3);
}

#[test]
fn limits_and_budgets_are_shown_beside_their_use() {
    let daemon = Daemon::start(
        "server.max_connections = 50\nserver.outbox_total = '64MiB'\napp.max_channels = 70\napp.max_connections = 9\n",
    );
    let _client = daemon.open("a");
    assert_eq!(daemon.metric("askr_limit{limit=\"connections\"}"), 50);
    assert_eq!(daemon.metric("askr_limit_used{limit=\"connections\"}"), 1);
    assert_eq!(
        daemon.metric("askr_budget_bytes{budget=\"events\"}"),
        64 << 20
    );
    assert!(daemon.metric("askr_budget_bytes{budget=\"requests\"}") >= 64 << 20);
    for (limit, used, most) in [
        ("channels", 1, 70),
        ("connections", 1, 9),
        ("members", 0, 10_000),
    ] {
        let labels = format!("application=\"askr\",limit=\"{limit}\"");
        let row = |name: &str| daemon.metric(&format!("{name}{{{labels}}}"));
        let of_limit = (
            row("askr_application_limit_used"),
            row("askr_application_limit"),
        );
        if limit == "members" {
            assert_eq!(of_limit.0, used);
            assert!(of_limit.1 > 0);
        } else {
            assert_eq!(of_limit, (used, most), "{limit}");
        }
    }
}

#[test]
fn refusals_have_their_reasons() {
    let daemon = Daemon::start("");
    for (path, status) in [("/nothing", "404"), ("/askr/events?channel=%zz", "400")] {
        let answer = viewers_answer(&daemon, path);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let row = format!("askr_requests_refused_total{{status=\"{status}\"}}");
        assert_eq!(daemon.metric(&row), 1);
    }
    assert_eq!(daemon.metric("askr_bad_requests_total"), 2);
}

#[test]
fn what_cannot_be_published_is_counted_by_its_reason() {
    let daemon = Daemon::start("ring.max_payload = '1KiB'\n");
    let reports = beside(&daemon.directory.path().join("control.sock"));
    let row = |application: &str, reason: &str| {
        format!("askr_publish_failures_total{{application=\"{application}\",reason=\"{reason}\"}}")
    };
    let mut own = publisher_of(&daemon.ring(), &reports);
    assert_eq!(fails(&mut own, &[b'x'; 2000]), Failure::TooLarge);
    daemon.until(&row("askr", "too_large"), |n| n == 1);
    // More within a second are told when it works again, at the latest when it ends.
    for _ in 0..4 {
        fails(&mut own, &[b'x'; 2000]);
    }
    drop(own);
    daemon.until(&row("askr", "too_large"), |n| n == 5);
    // To a ring that is not served here.
    let missing = daemon.directory.path().join("no-ring");
    let mut lost = publisher_of(&missing, &reports);
    assert_eq!(fails(&mut lost, b"x"), Failure::Missing);
    daemon.until(&row("", "missing"), |n| n == 1);
    assert_eq!(daemon.metric(&row("askr", "missing")), 0);
}

#[test]
fn what_failed_while_askrd_was_away_is_told_when_it_is_back() {
    let mut daemon = Daemon::start("ring.max_payload = '1KiB'\n");
    let reports = beside(&daemon.directory.path().join("control.sock"));
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    daemon.wait();
    let mut own = publisher_of(&daemon.ring(), &reports);
    assert_eq!(fails(&mut own, &[b'x'; 2000]), Failure::TooLarge);
    daemon.restart();
    drop(own);
    let row = "askr_publish_failures_total{application=\"askr\",reason=\"too_large\"}";
    daemon.until(row, |n| n == 1);
}

#[test]
fn reports_that_are_none_are_counted_and_change_nothing_else() {
    let daemon = Daemon::start("");
    let to = beside(&daemon.directory.path().join("control.sock"));
    let socket = UnixDatagram::unbound().unwrap();
    let ring = daemon.ring();
    let own = |rest: &str| format!("ASKR-FAILURES 1\n{}\n{rest}", ring.display()).into_bytes();
    for datagram in [
        Vec::new(),
        vec![0xff; 1500],
        own(&"missing 1\n".repeat(200)),
        own("missing 18446744073709551616\n"),
        own("missing"),
    ] {
        socket.send_to(&datagram, &to).unwrap();
    }
    daemon.until("askr_publish_reports_malformed_total", |n| n == 5);
    let row = "askr_publish_failures_total{application=\"askr\",reason=\"missing\"}";
    assert_eq!(daemon.metric(row), 0);
    for _ in 0..3 {
        socket.send_to(&own("missing 4294967295\n"), &to).unwrap();
    }
    daemon.until(row, |n| n == 3_000_000);
}

#[test]
fn they_are_on_a_listener_of_their_own_if_it_is_asked_for_and_nowhere_else() {
    let daemon = Daemon::start("server.metrics = '127.0.0.1:0'\n");
    let at = daemon.operators("server.metrics");
    let (head, body) = get(TcpStream::connect(at).unwrap(), "/metrics", "*/*");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(body.contains("\naskr_streams 0\n"));
    let (_, body) = get(TcpStream::connect(at).unwrap(), "/metrics", OPENMETRICS);
    assert!(body.ends_with("# EOF\n"));
    for path in ["/", "/channels", "/askr/events?channel=a", "/readyz"] {
        let (head, _) = get(TcpStream::connect(at).unwrap(), path, "*/*");
        assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {head}");
    }
    for path in ["/metrics", "/askr/metrics"] {
        let answer = viewers_answer(&daemon, path);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
}

#[test]
fn viewers_addresses_are_refused_for_it() {
    for (value, why) in [
        (
            "127.0.0.1:8080",
            "server.metrics: must be an address of its own",
        ),
        ("nonsense", "server.metrics"),
    ] {
        let settings = format!("[server]\nlisten = ['127.0.0.1:8080']\nmetrics = '{value}'\n");
        refused(&settings, why);
    }
}

#[test]
fn connections_that_do_not_finish_keep_nobody_waiting() {
    let daemon = Daemon::start("server.metrics = '127.0.0.1:0'\n");
    let at = daemon.operators("server.metrics");
    // The kernel keeps those that say nothing to itself.
    let begins = |_| {
        let mut socket = TcpStream::connect(at).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(b"G").unwrap();
        socket
    };
    let held: Vec<TcpStream> = (0..64).map(begins).collect();
    let (head, body) = get(TcpStream::connect(at).unwrap(), "/metrics", "*/*");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let gave_way = "askr_operator_connections_given_way_total{listener=\"metrics\"} 1\n";
    assert!(body.contains(gave_way), "{body}");
    // It was the eldest; its byte may not have been read.
    match (&held[0]).read(&mut [0]) {
        Ok(read) => assert_eq!(read, 0),
        Err(why) => assert_eq!(why.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn on_loopback_pages_of_others_read_none() {
    let daemon = Daemon::start("server.metrics = '127.0.0.1:0'\n");
    let at = daemon.operators("server.metrics");
    let get = |host: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        exchange(at, head.as_bytes())
    };
    for own in [&at.to_string(), "localhost:9091", "[::1]:9091"] {
        assert!(get(own).starts_with("HTTP/1.1 200 OK\r\n"), "{own}");
    }
    // A name of others, which leads here for as long as their page wants it to.
    let said = get("rebound.example:9091");
    assert!(
        said.starts_with("HTTP/1.1 403 ") && said.contains("Host"),
        "{said}"
    );
    assert!(!said.contains("askr_streams"), "{said}");
}

#[test]
fn watched_they_are_a_line_each_time_until_nobody_reads() {
    let mut daemon = Daemon::start("");
    let _client = daemon.open("a");
    let mut watch = askrd()
        .args(["stats", "--watch", "--interval", "0.1", "--config"])
        .arg(daemon.config())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut until = |what: &dyn Fn(&str) -> bool| while !what(&lines.next().unwrap().unwrap()) {};
    until(&|line| line.contains(" streams=1 ") && line.contains(" events/s=0.00 "));
    daemon.publish("a", "1");
    until(&|line| line.contains(" events/s=") && !line.contains(" events/s=0.00 "));
    // It goes on after a restart.
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    daemon.wait();
    until(&|line| line.contains("is askrd running"));
    daemon.restart();
    until(&|line| line.contains(" streams=0 "));
    drop(lines);
    assert!(watch.wait().unwrap().success());
    let counted = askrd()
        .args([
            "stats",
            "--watch",
            "--interval",
            "0.1",
            "--count",
            "2",
            "--config",
        ])
        .arg(daemon.config())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&counted.stdout).lines().count(), 2);
}

/// Names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let own = |word: &&str| word.starts_with("askr_") || word.starts_with("process_");
    words.filter(own).map(str::to_owned).collect()
}

#[test]
fn what_grafana_and_the_alert_rules_ask_for_is_there() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/grafana");
    let rules = packaging.join("alerts.yml");
    approves("promtool", &["check", "rules", rules.to_str().unwrap()], "");
    let rules = std::fs::read_to_string(rules).unwrap();
    let dashboard = std::fs::read_to_string(packaging.join("askr.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let daemon = Daemon::start("");
    let (_, text) = scrape(&daemon, "*/*");
    let known = named(&text);
    let mut asked = named(&rules);
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            asked.extend(named(target["expr"].as_str().unwrap()));
        }
    }
    assert!(asked.len() > 20, "{asked:?}");
    let missing: Vec<_> = asked.difference(&known).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // And what is written about them.
    let page = packaging.join("../../docs/METRICS.md");
    let page = std::fs::read_to_string(page).unwrap();
    let limits = text
        .lines()
        .filter_map(|line| line.strip_prefix("askr_refused_total{limit=\""));
    for limit in limits.map(|line| line.split('"').next().unwrap()) {
        assert!(page.contains(&format!("`{limit}`")), "{limit}");
    }
    let page = named(&page);
    let families: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    let unwritten: Vec<_> = families.difference(&page).collect();
    assert!(unwritten.is_empty(), "docs/METRICS.md lacks {unwritten:?}");
}

//! Reloads: every setting takes effect at once or is named as one that needs a restart, a file that cannot be used
//! changes nothing, and no viewer notices.

use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::common;
use crate::common::grants::{SECRET, now, request, token, token_by};
use crate::common::ws::{Pusher, Socket, app};
use crate::common::{Client, Daemon, PATIENCE, askrd, write_settings};
use askrd::config::{self, Settings};
use nix::sys::signal::Signal;
use serde_json::json;
use toml::Table;

const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// The settings of the start, and `more` in place of what was there.
fn write(daemon: &Daemon, base: &str, more: &str) {
    write_settings(&daemon.config(), &format!("{base}\n{more}"));
}

fn text(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.config()).unwrap()
}

/// Has it reloaded; what it says: taken, and what needs a restart.
fn reload(daemon: &Daemon) -> (Vec<String>, Vec<String>) {
    let said = daemon.ask("POST", "/reload", "");
    assert_eq!(said.status, 200, "{said:?}");
    let of = |key: &str| serde_json::from_value(said.json()[key].clone()).unwrap();
    (of("taken"), of("restart"))
}

fn keys() -> Vec<(String, String, toml::Value)> {
    let all = Table::try_from(Settings::default()).unwrap();
    let of = |(section, keys): (String, toml::Value)| {
        let keys = keys.as_table().unwrap().clone();
        keys.into_iter()
            .map(move |(key, value)| (section.clone(), key, value))
    };
    all.into_iter().flat_map(of).collect()
}

/// Another value that is allowed. A setting that is not known here fails the test: it has to be thought of.
fn another(section: &str, key: &str, default: &toml::Value, at: &str) -> String {
    let text = match (section, key) {
        ("server", "allowed_origins") | ("app", "allowed_origins") => "['https://b.example']",
        ("server", "allowed_hosts") => "['x']",
        ("server", "allowed_headers") => "['X-Tenant']",
        ("server", "trusted_proxies") => "['10.0.0.0/8']",
        ("server", "listen") => "['127.0.0.1:0']",
        ("server", "socket_group") => "'root'",
        ("server", "control") => "'none'",
        ("server", "metrics") => "'127.0.0.1:9'",
        ("server", "dashboard") => "'unix:/nowhere/dashboard.sock'",
        ("server", "dashboard_secret_file") => &format!("'{at}/secrets'"),
        ("server", "state_directory") => &format!("'{at}'"),
        ("server", "io") => "'write'",
        ("server", "slow_clients") => "'skip'",
        ("server", "socket_mode") | ("ring", "mode") => "'0600'",
        ("server", "max_connections") => "50",
        ("server", "requests_total") => "'80MiB'",
        ("server", "channels_per_stream") => "99",
        ("ring", "name") => &format!("'{at}/other'"),
        ("ring", "slots") => "1024",
        ("ring", "slot_size") => "1024",
        ("ring", "arena") => "'1MiB'",
        ("ring", "writers") => "64",
        ("ring", "max_payload") => "1000",
        ("ring", "group") => "'root'",
        ("ring", "owner") => "'root'",
        ("log", "level") => "'warn'",
        ("log", "format") => "'json'",
        ("auth", "secret_file") | ("app", "secret_file") => &format!("'{at}/secrets'"),
        ("auth", "public_keys") => "['11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo']",
        ("auth", "audience") | ("app", "id" | "key") => "'other'",
        ("app", "secret") => &format!("'{OTHER}'"),
        ("app", "ring") => &format!("'{at}/third'"),
        ("app", "authorizers") => "['token']",
        ("app", "auth_url") => "'http://127.0.0.1:9/auth'",
        ("app", "webhook_url") => "'http://127.0.0.1:9/hooks'",
        ("app", "webhook_events") => "['channel_occupied']",
        ("app", "webhook_prefix") => "'a'",
        ("app", "events") => "['a']",
        ("app", "mercure_url") => "'https://a.example/hub'\napp.mercure_legacy_key_file = '/keys'",
        ("app", "mercure_issuers") => "['a /keys']\napp.mercure_url = 'https://a.example/hub'",
        ("app", "mercure_legacy_key_file") => "'/keys'\napp.mercure_url = 'https://a.example/hub'",
        ("app", "mercure_cookie" | "mercure_legacy_cookie") => "'other'",
        ("app", "mercure_matchers") => "50",
        ("app", "strict") => "true\napp.events = ['a']",
        ("broadcast", "queue") => "1000",
        ("cluster", "url") => "'redis://127.0.0.1:9'",
        ("cluster", "password") => "'p'",
        ("cluster", "password_file") => &format!("'{at}/secrets'"),
        ("cluster", "sentinel_user") => {
            &format!("'askr'\ncluster.sentinel_password_file = '{at}/secrets'")
        }
        ("cluster", "sentinel_password_file") => &format!("'{at}/secrets'"),
        ("cluster", "ca_file") => "'/ca.pem'",
        ("cluster", "name" | "node") => "'other'",
        (_, _) => match default {
            toml::Value::Boolean(value) => &(!value).to_string(),
            toml::Value::Integer(value) => &(value + 1).to_string(),
            toml::Value::Float(value) => &format!("{:?}", value + 1.0),
            _ => panic!("{section}.{key} is new: is it taken over by a reload? (config/reload.rs)"),
        },
    };
    text.to_owned()
}

#[test]
fn every_setting_takes_effect_at_once_or_is_named() {
    let daemon = Daemon::start("");
    let base = text(&daemon);
    let at = daemon.directory.path().display().to_string();
    write_settings(&daemon.directory.path().join("secrets"), SECRET);
    let mut viewer = daemon.open("a");
    for (section, key, default) in keys() {
        let value = another(&section, &key, &default, &at);
        let name = format!("{section}.{key}");
        // In place of what the start has.
        let kept: String = base
            .lines()
            .filter(|line| !line.starts_with(&format!("{name} ")))
            .map(|line| format!("{line}\n"))
            .collect();
        write(&daemon, &kept, &format!("{name} = {value}\n"));
        let (taken, restart) = reload(&daemon);
        match config::reload::is_live(&section, &key) {
            true => assert!(
                taken.contains(&name) && restart.is_empty(),
                "{name}: {taken:?} {restart:?}"
            ),
            false => assert!(restart.contains(&name), "{name}: {taken:?} {restart:?}"),
        }
        let waiting = daemon.metric("askr_settings_waiting_for_restart");
        assert_eq!(waiting, restart.len() as u64, "{name}");
        daemon.publish("a", &name);
        assert_eq!(viewer.next().data, name);
    }
    write(&daemon, &base, "");
    let (_, restart) = reload(&daemon);
    assert_eq!(restart, Vec::<String>::new());
    assert_eq!(reload(&daemon), (Vec::new(), Vec::new()));
}

/// Status of a request for events, or `200 retry` where it is asked to come back.
fn status(daemon: &Daemon, query: &str, headers: &[(&str, &str)]) -> String {
    let mut client = Client::connect(daemon.address);
    client.request(&format!("/askr/events?{query}"), headers);
    let status = client.head.split(' ').nth(1).unwrap().to_owned();
    match status.as_str() {
        "200" if !client.opens() => "200 retry".to_owned(),
        _ => status,
    }
}

#[test]
fn requests_are_judged_by_the_settings_of_the_last_reload() {
    type Probe = fn(&Daemon) -> String;
    let foreign: Probe = |daemon| status(daemon, "channel=b", &[("Origin", "https://b.example")]);
    let plain: Probe = |daemon| status(daemon, "channel=b", &[]);
    let two: Probe = |daemon| status(daemon, "channel=b&channel=c", &[]);
    let signed: Probe = |daemon| {
        let channels = ["private-x"];
        status(
            daemon,
            &format!("channel=private-x&token={}", token(&channels, 60)),
            &[],
        )
    };
    let by_other: Probe = |daemon| {
        let claims = json!({"channels": ["private-x"], "iat": now(), "exp": now() + 60});
        status(
            daemon,
            &format!("channel=private-x&token={}", token_by(OTHER, &claims)),
            &[],
        )
    };
    let aud: Probe = |daemon| {
        let claims =
            json!({"aud": "elsewhere", "channels": ["private-x"], "iat": now(), "exp": now() + 60});
        status(
            daemon,
            &format!("channel=private-x&token={}", token_by(SECRET, &claims)),
            &[],
        )
    };
    let keyed: Probe = |daemon| {
        let mut socket = Socket::open(daemon.address, "/app/other", &[]);
        socket.next()["event"].as_str().unwrap().to_owned()
    };
    let long: Probe = |daemon| status(daemon, "channel=b", &[("X-Long", &"x".repeat(4000))]);
    let rewind: Probe = |daemon| status(daemon, "channel=b&rewind=50", &[]);
    let page: Probe = |daemon| {
        let ask = || request(daemon.address, "GET", "/askr/history?channel=b", "", "").status;
        format!("{} {}", ask(), ask())
    };
    let preflight: Probe = |daemon| {
        let headers = "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n";
        let said = request(daemon.address, "OPTIONS", "/askr/subscribe", headers, "");
        said.head.contains("X-Tenant").to_string()
    };
    let from_elsewhere: Probe = |daemon| {
        let mut first = Client::connect_from(daemon.address, "127.0.0.9");
        first.request("/askr/events?channel=b", &[]);
        let mut second = Client::connect_from(daemon.address, "127.0.0.9");
        second.request("/askr/events?channel=b", &[]);
        second.opens().to_string()
    };
    let daemon = Daemon::start(&app("server.allowed_origins = ['https://a.example']\n"));
    let base = text(&daemon);
    let mut viewer = daemon.open("a");
    for (change, probe, before, after) in [
        (
            "app.allowed_origins = ['https://b.example']",
            foreign,
            "403",
            "200",
        ),
        ("server.allowed_hosts = ['b.example']", plain, "200", "403"),
        (
            "server.allowed_headers = ['X-Tenant']",
            preflight,
            "false",
            "true",
        ),
        ("server.channels_per_stream = 1", two, "200", "400"),
        ("server.header_bytes = 2048", long, "200", "431"),
        (
            "server.history_rate = 1\nserver.connections_per_address = 100",
            page,
            "200 200",
            "200 429",
        ),
        (
            "server.connections_per_address = 1",
            from_elsewhere,
            "true",
            "false",
        ),
        ("server.max_connections = 1", plain, "200", "200 retry"),
        ("app.max_connections = 1", plain, "200", "200 retry"),
        ("server.max_channels = 1", plain, "200", "200 retry"),
        ("app.max_channels = 1", plain, "200", "200 retry"),
        ("broadcast.rewind_events = 10", rewind, "200", "400"),
        ("auth.audience = 'elsewhere'", aud, "401", "200"),
        ("auth.audience_required = true", signed, "200", "401"),
        ("app.authorizers = ['pusher']", signed, "200", "401"),
    ] {
        assert_eq!(probe(&daemon), before, "{change}");
        write(&daemon, &base, change);
        reload(&daemon);
        assert_eq!(probe(&daemon), after, "{change}");
        daemon.publish("a", change);
        assert_eq!(viewer.next().data, change);
        write(&daemon, &base, "");
        reload(&daemon);
        assert_eq!(probe(&daemon), before, "{change}, taken back");
    }
    let swapped = base.replace(SECRET, OTHER).replace("'app-key'", "'other'");
    assert_eq!(
        (signed(&daemon), by_other(&daemon)),
        ("200".into(), "401".into())
    );
    assert_eq!(keyed(&daemon), "pusher:error");
    write(&daemon, &swapped, "");
    assert_eq!(reload(&daemon).0, ["app.key", "app.secret"]);
    assert_eq!(
        (signed(&daemon), by_other(&daemon)),
        ("401".into(), "200".into())
    );
    assert_eq!(keyed(&daemon), "pusher:connection_established");
}

#[test]
fn who_is_connected_is_under_the_settings_of_the_last_reload() {
    let daemon = Daemon::start(&app("server.ping = 3600\nserver.workers = 2"));
    let base = text(&daemon).replace("server.ping = 3600\n", "");
    let mut pusher = Pusher::connect(&daemon);
    pusher.subscribe("private-a");
    let mut other = Pusher::connect(&daemon);
    other.subscribe("private-a");
    let typing = json!({"event": "client-typing", "channel": "private-a", "data": "x"});
    pusher.ws.say(&typing);
    assert_eq!(other.next()["event"], "client-typing");

    write(
        &daemon,
        &base,
        "app.client_events = false\nserver.ping = 3600\n",
    );
    assert_eq!(reload(&daemon).0, ["app.client_events"]);
    pusher.ws.say(&typing);
    assert_eq!(pusher.ws.next()["event"], "pusher:error");

    write(
        &daemon,
        &base,
        "app.strict = true\napp.events = ['client-known']\nserver.ping = 3600\n",
    );
    reload(&daemon);
    pusher.ws.say(&typing);
    let refused = pusher.ws.next();
    assert_eq!(refused["event"], "pusher:error", "{refused}");

    // A quiet stream gets no ping for an hour, and then at once.
    let mut quiet = daemon.open("quiet");
    let opened = quiet.cursor();
    daemon.publish("elsewhere", "x");
    write(&daemon, &base, "server.ping = 0.1\n");
    reload(&daemon);
    quiet.cursor_after(&opened);

    write(
        &daemon,
        &base,
        "server.stream_max_age = 1\nserver.ping = 0.1\n",
    );
    reload(&daemon);
    assert_eq!(quiet.end(), []);
}

#[test]
fn presence_and_the_http_api_are_under_the_settings_of_the_last_reload() {
    let daemon = Daemon::start(&app("app.presence_grace = 0"));
    let base = text(&daemon);
    let event = |data: &str| {
        let body = json!({"name": "e", "data": data, "channel": "a"});
        common::api::post(&daemon, "/apps/7/events", &body).status
    };
    let open = |user: &str| {
        let token = common::grants::token_of(user, &["presence-a"], 60);
        status(&daemon, &format!("channel=presence-a&token={token}"), &[])
    };
    let first = common::grants::token_of("1", &["presence-a"], 60);
    let _first = daemon.open_with(&format!("channel=presence-a&token={first}"), &[]);
    assert_eq!((event("12345"), open("2")), (200, "200".into()));
    write(
        &daemon,
        &base,
        "app.api_payload = 4\napp.channel_members = 1",
    );
    reload(&daemon);
    assert_eq!(event("12345"), 413);
    daemon.until("askr_presence_members", |members| members == 1);
    assert_ne!(open("3"), "200");
    write(&daemon, &base, "app.user_id_bytes = 1");
    reload(&daemon);
    assert_eq!((event("12345"), open("3")), (200, "200".into()));
    assert_ne!(open("33"), "200");
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let daemon = Daemon::start(&app("auth.expiry_notice = 1\n"));
    let base = text(&daemon);
    let mut viewer = daemon.open("a");
    let open = "auth.secret_file = '/dev/shm'";
    for (broken, says) in [
        ("[server", "line "),
        ("server.pong = 1", "server.pong: unknown key"),
        ("server.ping = 0", "server.ping: must be between"),
        (
            "server.max_connections = 100000000",
            "server.max_connections is",
        ),
        (open, "auth.secret_file: "),
        ("app.auth_url = 'x'", "app.auth_url: must be"),
    ] {
        write(
            &daemon,
            &base,
            &format!("server.channels_per_stream = 1\n{broken}"),
        );
        let said = daemon.ask("POST", "/reload", "");
        assert_eq!(said.status, 422, "{said:?}");
        assert!(said.body.contains(says), "{said:?}");
        let line = daemon.says("not reloaded");
        assert!(line.contains(says) && line.contains("ERROR"), "{line}");
        assert_eq!(
            status(&daemon, "channel=a&channel=b", &[]),
            "200",
            "{broken}"
        );
        daemon.publish("a", broken);
        assert_eq!(viewer.next().data, broken);
    }
    // A secret that others may read.
    write(&daemon, &base, "server.channels_per_stream = 1\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(daemon.config(), mode).unwrap();
    assert_eq!(daemon.ask("POST", "/reload", "").status, 422);
    assert_eq!(daemon.metric("askr_reloads_total{result=\"refused\"}"), 7);
    assert_eq!(daemon.metric("askr_reloads_total{result=\"taken\"}"), 0);
    std::fs::remove_file(daemon.config()).unwrap();
    let said = daemon.ask("POST", "/reload", "");
    assert!(
        said.status == 422 && said.body.contains("cannot be read"),
        "{said:?}"
    );
    // Nor does a change that does not fit to what needs a restart.
    write(&daemon, &base, "");
    assert_eq!(reload(&daemon), (Vec::new(), Vec::new()));
}

#[test]
fn the_command_prints_what_came_of_it() {
    let daemon = Daemon::start("");
    let base = text(&daemon);
    let run = || {
        let mut command = askrd();
        let output = command
            .args(["reload", "--config"])
            .arg(daemon.config())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    assert_eq!(run(), (0, "nothing has changed\n".into(), String::new()));
    write(
        &daemon,
        &base,
        "server.retry = 5\nring.slots = 1024\nlog.level = 'warn'\n",
    );
    let said = "in force now: log.level, server.retry\nneeds a restart: ring.slots\n";
    assert_eq!(run(), (0, said.into(), String::new()));
    write(&daemon, &base, "server.retry = 0\n");
    let (code, out, err) = run();
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("server.retry: must be between"), "{err}");
    write(&daemon, &base, "server.max_connections = 100000000\n");
    let (code, out, err) = run();
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("server.max_connections is"), "{err}");
}

/// Whether it has been sent this signal and has not taken it.
fn pending(daemon: &Daemon, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask & (1 << (signal as i32 - 1)) != 0
}

#[test]
fn the_log_level_changes_with_a_reload() {
    let daemon = Daemon::start("");
    let base = text(&daemon);
    write(&daemon, &base, "log.level = 'error'\n");
    reload(&daemon);
    daemon.signal(Signal::SIGUSR1);
    common::until(|| !pending(&daemon, Signal::SIGUSR1));
    daemon.signal(Signal::SIGHUP);
    // One thread has all signals: it is done with the first when the second has come to something.
    daemon.until("askr_reloads_total{result=\"taken\"}", |taken| taken == 2);
    write(&daemon, &base, "");
    // What it said of the reload that took the level back is the next line.
    reload(&daemon);
    daemon.signal(Signal::SIGUSR2);
    let lines = daemon.says_until("SIGUSR2");
    let about = |name: &str| lines.iter().any(|line| line.contains(name));
    assert!(!about("SIGUSR1") && !about("SIGHUP"), "{lines:?}");
}

/// An askrd that tells its service manager, which is the socket, how it is.
fn managed() -> (tempfile::TempDir, UnixDatagram, std::process::Child) {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let at = directory.path().display();
    let config = directory.path().join("askr.toml");
    write_settings(
        &config,
        &format!(
            "ring.name = '{at}/ring'\nserver.listen = ['unix:{at}/s']\nserver.control = 'none'\n"
        ),
    );
    let process = askrd()
        .args(["serve", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    (directory, socket, process)
}

#[test]
fn a_hangup_reloads_and_tells_the_service_manager() {
    let daemon = Daemon::start("server.ping = 3600\n");
    let base = text(&daemon);
    write(&daemon, &base.replace("3600", "3000"), "");
    daemon.signal(Signal::SIGHUP);
    let line = daemon.says("reloaded: ");
    assert!(line.ends_with("reloaded: server.ping"), "{line}");

    let (_directory, socket, mut process) = managed();
    let mut buffer = [0; 4096];
    let mut told = || loop {
        let n = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..n].to_vec()).unwrap();
        if !text.contains("WATCHDOG=1") {
            return text;
        }
    };
    assert!(told().contains("READY=1"));
    let pid = nix::unistd::Pid::from_raw(process.id() as i32);
    nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
    let reloading = told();
    assert!(
        reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(told().contains("READY=1"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(told().contains("STOPPING=1"));
    process.wait().unwrap();
}

#[test]
fn a_service_manager_that_does_not_read_keeps_askrd_from_nothing() {
    let (directory, socket, mut process) = managed();
    let mut buffer = [0; 4096];
    let n = socket.recv(&mut buffer).unwrap();
    assert!(buffer[..n].starts_with(b"READY=1"));
    // As many as the kernel keeps for it.
    let more = UnixDatagram::unbound().unwrap();
    more.set_nonblocking(true).unwrap();
    while more
        .send_to(b"X=1", directory.path().join("notify"))
        .is_ok()
    {}
    let pid = nix::unistd::Pid::from_raw(process.id() as i32);
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    let (tell, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(process.wait().unwrap()));
    let status = ended.recv_timeout(PATIENCE);
    if status.is_err() {
        nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    }
    assert!(status.expect("it ends by itself").success());
}

#[test]
fn a_secret_is_replaced_in_two_steps_and_no_connection_notices() {
    let daemon = Daemon::start("");
    let base = text(&daemon);
    let file = daemon.directory.path().join("secrets");
    let settings = format!(
        "app.id = '7'\napp.key = 'app-key'\nauth.secret_file = '{}'\n",
        file.display()
    );
    // Key, id and file need a restart the first time.
    write_settings(&file, SECRET);
    write(&daemon, &base, &settings);
    let mut daemon = daemon;
    daemon.signal(Signal::SIGTERM);
    daemon.restart();
    let daemon = &daemon;

    let mut viewer = Pusher::connect(daemon);
    viewer.subscribe("public");
    let mut channels = 0;
    // What is signed by this secret: a channel of a connection that was there before, a call of the HTTP API, a token.
    let mut signed_by = |viewer: &mut Pusher, secret: &str| {
        channels += 1;
        let channel = format!("private-{channels}");
        let signature = common::grants::signature_by(secret, "app-key", &viewer.id, &channel, None);
        let told = viewer.try_subscribe(&channel, signature);
        let call = common::api::Call::new("GET", "/apps/7/channels", &[], "");
        let claims = json!({"channels": ["private-x"], "iat": now(), "exp": now() + 60});
        let token = format!("channel=private-x&token={}", token_by(secret, &claims));
        (
            told["event"] == "pusher_internal:subscription_succeeded",
            call.send_by(secret, daemon).status,
            status(daemon, &token, &[]),
        )
    };
    let (yes, no) = (
        (true, 200, "200".to_owned()),
        (false, 401, "401".to_owned()),
    );
    assert_eq!(signed_by(&mut viewer, SECRET), yes);
    assert_eq!(signed_by(&mut viewer, OTHER), no);
    for (lines, by_old, by_new) in [
        (&[OTHER, SECRET][..], &yes, &yes),
        (&[OTHER][..], &no, &yes),
    ] {
        let write_again = |lines: &[&str]| {
            write_settings(&file, &(lines.join("\n") + "\n"));
            reload(daemon).0
        };
        assert_eq!(write_again(lines), ["the secrets of application 7"]);
        assert_eq!(&signed_by(&mut viewer, SECRET), by_old, "{lines:?}");
        assert_eq!(&signed_by(&mut viewer, OTHER), by_new, "{lines:?}");
        daemon.publish("public", "still here");
        assert_eq!(viewer.take("public", 1), ["still here"]);
    }
    // The tokens' viewers have hung up; when askrd notices is its own affair.
    daemon.until("askr_streams", |streams| streams == 1);
}

/// `ASKR_TEST_VIEWERS`.
fn crowd() -> u64 {
    std::env::var("ASKR_TEST_VIEWERS").map_or(300, |n| n.parse().unwrap())
}

/// Does `job` while as many viewers as in `crowd` get events. None of them is disconnected, and each gets every event, once
/// and in order. Says how many events that were.
fn under_load(daemon: &Daemon, job: impl FnOnce()) -> u64 {
    let viewers = crowd();
    let path = format!("channel=private-x&token={}", token(&["private-x"], 3600));
    let mut clients: Vec<Client> = (0..viewers).map(|_| daemon.open_with(&path, &[])).collect();
    let done = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut publisher = daemon.publisher();
            let mut sent = 0;
            while !done.load(Relaxed) {
                common::publish(
                    &mut publisher,
                    &["private-x"],
                    None,
                    None,
                    &sent.to_string(),
                );
                sent += 1;
                // No more than this machine can send to so many. Who had to replay is not counted there.
                let sent_to = || daemon.metric("askr_events_delivered_total");
                common::until(|| sent_to() >= sent * viewers || done.load(Relaxed));
            }
            sent
        });
        // The publisher ends also when the job fails.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        done.store(true, Relaxed);
        let sent = publisher.join().unwrap();
        result.unwrap_or_else(|why| std::panic::resume_unwind(why));
        sent
    });
    // Those who came with a new token in between have gone again; nobody else has.
    daemon.until("askr_streams", |streams| streams == viewers);
    let all: Vec<String> = (0..sent).map(|n: u64| n.to_string()).collect();
    for client in &mut clients {
        assert_eq!(client.take(sent as usize), all);
    }
    assert_eq!(daemon.metric("askr_gaps_told_total"), 0);
    sent
}

/// Settings for so many viewers from one address.
const CROWDED: &str = "server.connections_per_address = 0\nserver.state_directory = ''\n";

/// Status of a request for events with a token that is signed by this secret.
fn status_by(secret: &str, daemon: &Daemon) -> String {
    let claims = json!({"channels": ["private-x"], "iat": now(), "exp": now() + 60});
    let path = format!("channel=private-x&token={}", token_by(secret, &claims));
    status(daemon, &path, &[])
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
    format!("{median:.1?} in the middle, {last:.1?} at most")
}

#[test]
fn nobody_notices_reloads_under_load_while_secrets_rotate() {
    let daemon = Daemon::start(&app(CROWDED));
    let base = text(&daemon);
    let changes = [
        "app.strict = true\napp.events = ['e']\n",
        "server.ping = 1\n",
        "app.auth_calls = 3\n",
        "server.outbox_frames = 500\n",
    ];
    let mut reloads = Vec::new();
    let sent = under_load(&daemon, || {
        for n in 0..40 {
            let secret = if n % 2 == 0 { OTHER } else { SECRET };
            write(&daemon, &base.replace(SECRET, secret), changes[n % 4]);
            let begun = Instant::now();
            let (taken, restart) = reload(&daemon);
            reloads.push(begun.elapsed());
            assert!(
                taken.contains(&"app.secret".to_owned()) && restart.is_empty(),
                "{taken:?}"
            );
            // Who comes with the new secret is let in at once.
            assert_eq!(status_by(secret, &daemon), "200");
        }
    });
    let taken = daemon.metric("askr_reloads_total{result=\"taken\"}");
    assert_eq!(taken, reloads.len() as u64);
    println!(
        "{} viewers, {taken} reloads with another secret each: {}; {sent} events, each of them once and in order at \
         everybody; nobody was disconnected",
        crowd(),
        shown(reloads)
    );
}

#[test]
fn nobody_notices_files_that_cannot_be_used_under_load() {
    let daemon = Daemon::start(&app(CROWDED));
    let base = text(&daemon);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let at = daemon.directory.path();
    let _held = UnixListener::bind(at.join("held.sock")).unwrap();
    let open = at.join("open-to-all");
    write_settings(&open, OTHER);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&open, mode).unwrap();
    let missing = at.join("missing").display().to_string();
    let (at, open) = (at.display(), open.display());
    // With each of them a change that would let nobody in, and a part of what is said.
    let refused = [
        ("[server".to_owned(), "line "),
        ("server.pong = 1".to_owned(), "server.pong: unknown key"),
        (format!("auth.secret_file = '{missing}'"), missing.as_str()),
        (format!("auth.secret_file = '{open}'"), "open-to-all"),
        ("server.ping = 'soon'".to_owned(), "server.ping"),
    ];
    let in_use = [
        format!("server.listen = ['127.0.0.1:0', 'unix:{at}/askrd.sock', '{taken}']"),
        format!("server.listen = ['127.0.0.1:0', 'unix:{at}/held.sock']"),
        format!("server.metrics = '{taken}'"),
    ];
    let (named, free) = (taken.to_string(), text(&daemon));
    let bare: String = free
        .lines()
        .filter(|line| !line.starts_with("server.listen "))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut reloads = Vec::new();
    let sent = under_load(&daemon, || {
        for _ in 0..5 {
            for (broken, says) in &refused {
                write(
                    &daemon,
                    &base,
                    &format!("app.authorizers = ['pusher']\n{broken}"),
                );
                let begun = Instant::now();
                let said = daemon.ask("POST", "/reload", "");
                reloads.push(begun.elapsed());
                assert!(said.status == 422 && said.body.contains(says), "{said:?}");
                let line = daemon.says("not reloaded");
                assert!(line.contains(says) && line.contains("ERROR"), "{line}");
                assert_eq!(status_by(SECRET, &daemon), "200", "{broken}");
            }
            // An address that somebody has is nothing that serves now; the next start would fail.
            for (line, held) in in_use.iter().zip([&named, "held.sock", &named]) {
                let base = if line.contains("listen") {
                    &bare
                } else {
                    &base
                };
                write(&daemon, base, line);
                let begun = Instant::now();
                let said = daemon.ask("POST", "/reload", "");
                reloads.push(begun.elapsed());
                assert_eq!(said.status, 200, "{said:?}");
                let key = line.split(' ').next().unwrap();
                assert_eq!(said.json()["restart"], json!([key]));
                let obstacle = said.json()["obstacles"][0].to_string();
                assert!(
                    obstacle.contains(key) && obstacle.contains(held),
                    "{said:?}"
                );
                let line = daemon.says("a restart would fail");
                assert!(line.contains(held) && line.contains("WARN"), "{line}");
                assert_eq!(status_by(SECRET, &daemon), "200", "{held}");
            }
        }
        write(&daemon, &base, "");
        let said = daemon.ask("POST", "/reload", "").json();
        assert_eq!(said, json!({"taken": [], "restart": [], "obstacles": []}));
    });
    assert_eq!(daemon.metric("askr_reloads_total{result=\"refused\"}"), 25);
    println!(
        "{} viewers, {} reloads of files that cannot be used: {}; {sent} events, each of them once and in order at \
         everybody; nobody was disconnected",
        crowd(),
        reloads.len(),
        shown(reloads)
    );
}

#[test]
fn nobody_notices_a_file_of_secrets_that_rotates_under_load() {
    let mut daemon = Daemon::start(CROWDED);
    let base = text(&daemon);
    let file = daemon.directory.path().join("secrets");
    write_settings(&file, SECRET);
    write(
        &daemon,
        &base,
        &format!("auth.secret_file = '{}'", file.display()),
    );
    daemon.signal(Signal::SIGTERM);
    daemon.restart();
    let said = daemon.log().join("\n");
    assert!(!said.contains("ERROR"), "{said}");
    let daemon = &daemon;
    let mut rotations = 0;
    let sent = under_load(daemon, || {
        let (mut old, mut new) = (SECRET, OTHER);
        for _ in 0..10 {
            // Both, then the new one alone: who signs by either is let in meanwhile, and who has the old one no longer then.
            for (lines, by_old) in [(vec![new, old], "200"), (vec![new], "401")] {
                write_settings(&file, &(lines.join("\n") + "\n"));
                assert_eq!(reload(daemon).0, ["the secrets of application askr"]);
                let by = (status_by(old, daemon), status_by(new, daemon));
                assert_eq!(by, (by_old.to_owned(), "200".to_owned()), "{rotations}");
            }
            (old, new) = (new, old);
            rotations += 1;
        }
    });
    println!(
        "{} viewers, {rotations} secrets rotated in two steps each: {sent} events, each of them once and in order at \
         everybody; nobody was disconnected",
        crowd()
    );
}

#[test]
fn an_address_that_a_restart_could_not_have_is_named() {
    let daemon = Daemon::start("");
    let base = text(&daemon);
    let obstacles = |more: &str| {
        let kept = base.lines().filter(|line| {
            let key = line.split(' ').next().unwrap();
            !more.lines().any(|line| line.starts_with(key))
        });
        let kept: Vec<&str> = kept.collect();
        write(&daemon, &kept.join("\n"), more);
        let said = daemon.ask("POST", "/reload", "").json();
        serde_json::from_value::<Vec<String>>(said["obstacles"].clone()).unwrap()
    };
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let also = other.local_addr().unwrap();
    let said = obstacles(&format!(
        "server.listen = ['{taken}']\nserver.metrics = '{also}'"
    ));
    assert_eq!(said.len(), 2, "{said:?}");
    let why = "Address already in use (os error 98)";
    assert_eq!(
        said[0],
        format!("server.listen: cannot listen on {taken}: {why}")
    );
    assert_eq!(
        said[1],
        format!("server.metrics: cannot listen on {also}: {why}")
    );
    // What it has itself it will have again, whatever it is called; nobody is disturbed who listens or will.
    let own = daemon.address.port();
    let own = format!("server.listen = ['localhost:{own}', '0.0.0.0:{own}']");
    assert_eq!(obstacles(&own), [""; 0]);
    drop(held);
    assert_eq!(obstacles(&format!("server.listen = ['{taken}']")), [""; 0]);
    let again = TcpListener::bind(taken).unwrap();
    let mut command = askrd();
    let config = daemon.config();
    write(&daemon, &base, &format!("server.metrics = '{taken}'\n"));
    let output = command.args(["reload", "--config"]).arg(config).output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    assert_eq!(
        output,
        format!(
            "needs a restart: server.metrics\na restart would fail now: server.metrics: cannot listen on {taken}: {why}\n"
        )
    );
    drop(again);
    // Nor is a file replaced that is not a socket, and a socket that a killed daemon left is no obstacle.
    let at = daemon.directory.path();
    std::fs::write(at.join("file"), "precious").unwrap();
    drop(UnixListener::bind(at.join("left.sock")).unwrap());
    let at = at.display();
    let said = obstacles(&format!(
        "server.listen = ['unix:{at}/file', 'unix:{at}/left.sock', 'unix:{at}/askrd.sock', 'unix:{at}/new.sock']"
    ));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("a file that is no socket is there"));
}

#[test]
fn others_may_not_have_it_reloaded() {
    use std::os::unix::process::CommandExt;
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let daemon = Daemon::start("");
    let open = |path: &std::path::Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
    };
    open(daemon.directory.path(), 0o755);
    open(&daemon.directory.path().join("control.sock"), 0o666);
    open(&daemon.config(), 0o644);
    let mut command = askrd();
    command
        .args(["reload", "--config"])
        .arg(daemon.config())
        .uid(65534)
        .gid(65534);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("only root and askrd's own user"), "{text}");
}

#[test]
fn a_file_that_a_restart_could_not_use_is_named() {
    let daemon = Daemon::start("");
    let base = text(&daemon);
    let at = daemon.directory.path().join("operators");
    let file = format!("server.dashboard_secret_file = '{}'", at.display());
    let obstacles = |more: &str| {
        write(&daemon, &base, more);
        let said = daemon.ask("POST", "/reload", "");
        assert_eq!(said.status, 200, "{said:?}");
        serde_json::from_value::<Vec<String>>(said.json()["obstacles"].clone()).unwrap()
    };
    let said = obstacles(&file);
    assert_eq!(said.len(), 1, "{said:?}");
    let begins = format!(
        "server.dashboard_secret_file: {}: cannot be read",
        at.display()
    );
    assert!(said[0].starts_with(&begins), "{said:?}");
    let line = daemon.says("a restart would fail");
    assert!(line.contains(&begins), "{line}");
    write_settings(&at, SECRET);
    assert_eq!(obstacles(&file), [""; 0]);
    // So are the others that are only read at the start.
    let cluster = "cluster.url = 'rediss://127.0.0.1:9'\ncluster.ca_file = '/nowhere'";
    let said = obstacles(cluster);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("cluster.ca_file: /nowhere: "),
        "{said:?}"
    );
}

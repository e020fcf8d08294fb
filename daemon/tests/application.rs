//! The application next door is asked about channels: what it is shown, what its answers open, and that
//! nobody else suffers while it is away.

use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::common;
use crate::common::grants::{Said, request, token_by};
use crate::common::ws::Socket;
use crate::common::{Daemon, grants, next_request};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// An application that knows who Ada is, or one that never answers.
struct Application {
    url: String,
    /// Head and body of each request.
    asked: Receiver<(String, Value)>,
}

impl Application {
    fn start(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/askr/auth", listener.local_addr().unwrap());
        let sockets = std::iter::from_fn(move || listener.accept().ok());
        Self::serve(url, sockets.map(|(socket, _)| socket), answers)
    }

    fn at(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let sockets = std::iter::from_fn(move || listener.accept().ok());
        Self::serve(String::new(), sockets.map(|(socket, _)| socket), true)
    }

    fn serve<S: Read + Write + Send + 'static>(
        url: String,
        sockets: impl Iterator<Item = S> + Send + 'static,
        answers: bool,
    ) -> Self {
        let (tell, asked) = channel();
        thread::spawn(move || {
            for socket in sockets {
                let tell = tell.clone();
                thread::spawn(move || serve(socket, &tell, answers));
            }
        });
        Self { url, asked }
    }

    fn settings(&self, more: &str) -> String {
        format!("app.auth_url = '{}'\n{more}", self.url)
    }
}

/// One connection, kept.
fn serve(socket: impl Read + Write, tell: &Sender<(String, Value)>, answers: bool) {
    let mut socket = BufReader::new(socket);
    while let Some((head, body)) = next_request(&mut socket) {
        tell.send((head.clone(), serde_json::from_slice(&body).unwrap()))
            .unwrap();
        if !answers {
            continue;
        }
        let (status, answer) = match head.contains("session=ada") {
            true => {
                let ada = json!({"user": 7, "info": {"name": "Ada"}});
                let opened = json!({"private-a": true, "presence-room": ada});
                ("200 OK", json!({ "channels": opened }).to_string())
            }
            false => ("401 Unauthorized", String::new()),
        };
        let length = answer.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{answer}");
        socket.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

const ADA: (&str, &str) = ("Cookie", "session=ada");

fn get(daemon: &Daemon, channels: &str, headers: &str) -> Said {
    let target = format!("/askr/events?{channels}");
    request(daemon.address, "GET", &target, headers, "")
}

#[test]
fn its_cookie_opens_a_viewer_the_channels_that_the_application_says() {
    let application = Application::start(true);
    let daemon = Daemon::start(&application.settings(""));
    let mut ada = daemon.open_with(
        "channel=private-a&channel=presence-room&channel=public",
        &[ADA, ("X-Other", "x")],
    );
    let (event, members) = ada.next_json();
    assert_eq!(event, "askr:members");
    assert_eq!(
        members["members"],
        json!([{"id": "7", "info": {"name": "Ada"}}])
    );
    daemon.publish("private-a", "hello");
    assert_eq!(ada.next().data, "hello");
    assert_eq!(daemon.members("presence-room"), ["7"]);

    let (head, question) = application.asked.recv().unwrap();
    assert_eq!(question["channels"], json!(["private-a", "presence-room"]));
    let head = head.to_lowercase();
    assert!(head.starts_with("post /askr/auth http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nx-askr-request: authorize\r\n"), "{head}");
    assert!(!head.contains("x-other"), "{head}");

    let nobody = get(&daemon, "channel=private-a", "");
    assert_eq!(nobody.status, 401, "{nobody:?}");
    let neighbour = get(&daemon, "channel=private-b", "Cookie: session=ada\r\n");
    assert_eq!(neighbour.status, 403, "{neighbour:?}");
    let cross = "Cookie: session=ada\r\nSec-Fetch-Site: cross-site\r\n";
    assert_eq!(get(&daemon, "channel=private-a", cross).status, 401);
    let asked: Vec<_> = application.asked.try_iter().collect();
    assert_eq!(
        asked.len(),
        1,
        "nobody, and another site's page, show nothing: {asked:?}"
    );
}

/// Where proxies say which address a viewer has. Anybody can send them.
const CLAIMED: [(&str, &str); 6] = [
    ("X-Forwarded-For", "10.0.0.1"),
    ("Forwarded", "for=10.0.0.1"),
    ("X-Client-IP", "10.0.0.1"),
    ("X-Cluster-Client-IP", "10.0.0.1"),
    ("True-Client-IP", "10.0.0.1"),
    ("CF-Connecting-IP", "10.0.0.1"),
];

/// The lines of a head that tell an address, but for `Host`.
fn addresses(head: &str) -> Vec<String> {
    let lines = head.lines().map(str::to_lowercase);
    lines
        .filter(|line| !line.starts_with("host:"))
        .filter(|line| {
            ["10.0.0.", "127.0.0.", "192.0.2."]
                .iter()
                .any(|net| line.contains(net))
        })
        .collect()
}

#[test]
fn it_is_told_the_address_that_is_known_of_a_viewer_and_none_that_a_viewer_claims() {
    let application = Application::start(true);
    let told = || addresses(&application.asked.recv().unwrap().0);
    let claimed: Vec<_> = [&[ADA][..], &CLAIMED].concat();

    let daemon = Daemon::start(&application.settings("app.auth_cache = 0"));
    let itself = [&claimed[..], &[("X-Real-IP", "10.0.0.2")]].concat();
    assert!(daemon.open_with("channel=private-a", &itself).opens());
    assert_eq!(told(), ["x-forwarded-for: 127.0.0.1"]);
    // Also for channels that are added later: to a stream, and over a WebSocket.
    let mut stream = daemon.open("public");
    let headers: String = itself
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let body = grants::body(&stream.me(), &["private-a"], Value::Null);
    let said = request(daemon.address, "POST", "/askr/subscribe", &headers, &body);
    assert_eq!(said.status, 200, "{said:?}");
    assert_eq!(told(), ["x-forwarded-for: 127.0.0.1"]);
    let mut socket = Socket::open(daemon.address, "/askr/ws", &itself);
    socket.next();
    socket.say(&json!({"subscribe": ["private-a"]}));
    assert_eq!(told(), ["x-forwarded-for: 127.0.0.1"]);

    // A trusted proxy says who its viewer is, and passes on what the viewer claims.
    let proxied = "app.auth_cache = 0\nserver.trusted_proxies = ['127.0.0.1']";
    let daemon = Daemon::start(&application.settings(proxied));
    let named = [&claimed[..], &[("X-Real-IP", "192.0.2.1")]].concat();
    assert!(daemon.open_with("channel=private-a", &named).opens());
    assert_eq!(told(), ["x-forwarded-for: 192.0.2.1"]);
    // One that adds its line to the viewer's means its own.
    let added = [&[("X-Real-IP", "10.0.0.3")], &named[..]].concat();
    assert!(daemon.open_with("channel=private-a", &added).opens());
    assert_eq!(told(), ["x-forwarded-for: 192.0.2.1"]);
    // One that does not say is not the viewer.
    assert!(daemon.open_with("channel=private-a", &claimed).opens());
    assert_eq!(told(), [""; 0]);
}

#[test]
fn while_it_is_away_private_channels_come_later_and_public_ones_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let daemon = Daemon::start(&format!(
        "app.auth_url = 'unix:{}:/askr/auth'",
        path.display()
    ));
    let later = get(&daemon, "channel=private-a", "Cookie: session=ada\r\n");
    assert_eq!(later.status, 200, "a browser comes back only after this");
    assert!(later.body.starts_with("retry:"), "{later:?}");
    let mut public = daemon.open("public");
    daemon.publish("public", "served");
    assert_eq!(public.next().data, "served");

    let back = Application::at(&path);
    let mut ada = daemon.open_with("channel=private-a", &[ADA]);
    daemon.publish("private-a", "again");
    assert_eq!(ada.next().data, "again");
    assert_eq!(back.asked.try_iter().count(), 1);
}

#[test]
fn while_it_hangs_others_are_served_by_the_same_worker() {
    let application = Application::start(false);
    let bounds = "server.workers = 1\napp.auth_calls = 2\napp.auth_timeout = 60.0";
    let daemon = Daemon::start(&application.settings(bounds));
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let mut client = common::Client::connect(daemon.address);
            client.ask("/askr/events?channel=private-a", &[ADA]);
            application.asked.recv().unwrap();
            client
        })
        .collect();
    // There are as many questions as may be.
    let later = get(&daemon, "channel=private-a", "Cookie: session=ada\r\n");
    assert!(later.body.starts_with("retry:"), "{later:?}");
    let mut public = daemon.open("public");
    daemon.publish("public", "served");
    assert_eq!(public.next().data, "served");
    assert_eq!(application.asked.try_iter().count(), 0);
    drop(waiting);
}

#[test]
fn what_was_revoked_stays_so_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let settings = format!(
        "app.secret = '{}'\nserver.state_directory = '{}'",
        grants::SECRET,
        state.path().display()
    );
    let mut daemon = Daemon::start(&settings);
    let of = |user: &str| {
        let claims = json!({"channels": ["private-a"], "sub": user,
            "iat": grants::now(), "exp": grants::now() + 600});
        token_by(grants::SECRET, &claims)
    };
    let (mine, other) = (of("7"), of("8"));
    let mut client = daemon.open_with(&format!("channel=private-a&token={mine}"), &[]);
    assert_eq!(daemon.disconnect(&json!({"user": "7"})), 1);
    client.end();
    let refused = |daemon: &Daemon| get(daemon, &format!("channel=private-a&token={mine}"), "");
    assert!(refused(&daemon).body.contains("revoked"));
    daemon.signal(Signal::SIGTERM);
    daemon.restart();
    let after = refused(&daemon);
    assert_eq!(after.status, 401, "{after:?}");
    assert!(after.body.contains("revoked"), "{after:?}");
    drop(daemon.open_with(&format!("channel=private-a&token={other}"), &[]));
}

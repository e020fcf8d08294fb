//! What somebody may ask for without end: channel names, members, questions to an application that hangs.
//! Bounded, counted, the others served, and given back. And tokens that were called back.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::common;
use crate::common::grants::{self, SECRET, token, token_of};
use crate::common::{Client, Daemon};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A stream on these channels if it opens; None if it was asked to reconnect later.
fn try_open(daemon: &Daemon, query: &str) -> Option<Client> {
    let mut client = daemon.open_with(query, &[]);
    client.opens().then_some(client)
}

fn in_threads<T: Send>(each: usize, job: impl Fn(usize) -> Option<T> + Sync) -> Vec<T> {
    const THREADS: usize = 4;
    let job = &job;
    let part = |n: usize| {
        move || {
            (0..each)
                .filter_map(|i| job(n * each + i))
                .collect::<Vec<T>>()
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(part(n))).collect();
        let all = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        all.collect()
    })
}

#[test]
fn a_million_channel_names_are_bounded_counted_and_given_back() {
    const ROOM: u64 = 100_000;
    const EACH: usize = 100;
    let daemon = Daemon::start(&format!(
        "server.max_channels = {}\nserver.header_bytes = '32KiB'",
        ROOM + 2
    ));
    let mut other = daemon.open("served");
    let names = |stream: usize| -> Vec<String> {
        let name = |n| format!("orders.customer.{}", stream * EACH + n);
        (0..EACH).map(name).collect()
    };
    let query = |stream: usize| -> String {
        let pairs = names(stream)
            .into_iter()
            .map(|name| format!("channel={name}"));
        pairs.collect::<Vec<_>>().join("&")
    };
    let before = daemon.memory();
    let held = in_threads(2500, |stream| try_open(&daemon, &query(stream)));
    assert_eq!(held.len() as u64, ROOM / EACH as u64);
    let full = daemon.memory();
    let refused = "askr_refused_total{limit=\"channels\"}";
    assert_eq!(daemon.metric(refused), 10_000 - ROOM / EACH as u64);
    assert_eq!(daemon.metric("askr_channels"), ROOM + 1);
    println!(
        "{} bytes a channel with a subscriber, {} MiB in all, debug build",
        (full - before) / ROOM,
        full >> 20
    );
    assert!(full < 1 << 30, "{full}");

    // By POST it is the same: one more fits, then none.
    let me = other.me();
    assert_eq!(daemon.subscribe(&me, &["one more"], Value::Null).len(), 2);
    let said = daemon.try_subscribe(&me, &["two more"], Value::Null);
    assert_eq!(said.status, 409, "{said:?}");
    // Channels that are there already are open to everybody.
    let mut late = daemon.open("served");
    daemon.publish("served", "all the same");
    assert_eq!(other.next().data, "all the same");
    assert_eq!(late.next().data, "all the same");
    drop(late);
    daemon.unsubscribe(&me, &["one more"]);

    drop(held);
    daemon.until("askr_channels", |n| n == 1);
    assert_eq!(daemon.metric("askr_subscriptions"), 1);
    let held = in_threads(250, |stream| try_open(&daemon, &query(10_000 + stream)));
    assert_eq!(held.len() as u64, ROOM / EACH as u64);
    let again = daemon.memory();
    assert!(
        again < full + full / 4,
        "{again} after {full}: not given back"
    );
}

#[test]
fn members_at_the_limit_are_refused_and_their_places_given_back() {
    const ROOM: u64 = 20_000;
    let daemon = Daemon::start(&format!(
        "app.secret = '{SECRET}'\napp.members = {ROOM}\napp.presence_grace = 0.0"
    ));
    let before = daemon.memory();
    let mut watcher = daemon.open("served");
    let enter = |n: usize| {
        let token = token_of(&n.to_string(), &["presence-*"], 600);
        let rooms: Vec<String> = (0..100)
            .map(|room| format!("channel=presence-{n}.{room}"))
            .collect();
        let mut client = try_open(&daemon, &format!("{}&token={token}", rooms.join("&")))?;
        assert_eq!(client.next_json().1["count"], 1);
        Some(client)
    };
    let held = in_threads(60, enter);
    assert_eq!(held.len() as u64, ROOM / 100);
    let full = daemon.memory();
    println!(
        "{} bytes a member with its channel, debug build",
        (full - before) / ROOM
    );
    assert!(full < 1 << 30, "{full}");
    assert_eq!(daemon.metric("askr_presence_members"), ROOM);
    assert_eq!(daemon.metric("askr_refused_total{limit=\"members\"}"), 40);
    assert_eq!(daemon.metric("askr_presence_refused_total"), 40);
    daemon.publish("served", "all the same");
    assert_eq!(watcher.next().data, "all the same");
    drop(held);
    daemon.until("askr_presence_members", |n| n == 0);
    assert!(enter(1000).is_some());
}

/// An application that takes questions, and answers them from some time on.
struct Application {
    url: String,
    /// Questions without an answer, at most at one time; and all there were.
    most: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Option<String>>>,
}

impl Application {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/askr/auth", listener.local_addr().unwrap());
        let application = Self {
            url,
            most: Arc::default(),
            asked: Arc::default(),
            answers: Arc::default(),
        };
        let (most, asked) = (application.most.clone(), application.asked.clone());
        let answers = application.answers.clone();
        let open = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (most, asked, answers) = (most.clone(), asked.clone(), answers.clone());
                let open = open.clone();
                thread::spawn(move || {
                    most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
                    Self::serve(socket.unwrap(), &asked, &answers);
                    open.fetch_sub(1, SeqCst);
                });
            }
        });
        application
    }

    fn serve(mut socket: TcpStream, asked: &Mutex<Vec<String>>, answers: &Mutex<Option<String>>) {
        let mut question = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = socket.read(&mut buffer) {
            question.extend_from_slice(&buffer[..n]);
            if !question.ends_with(b"}") {
                continue;
            }
            let text = String::from_utf8(std::mem::take(&mut question)).unwrap();
            asked.lock().unwrap().push(text);
            // Without one it hangs: the reading goes on until the other side gives up.
            let answer = answers.lock().unwrap().clone();
            if let Some(body) = answer {
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                let _ = socket.write_all((head + &body).as_bytes());
            }
        }
    }
}

#[test]
fn an_application_that_hangs_keeps_its_own_waiting_and_nobody_else() {
    let application = Application::start();
    let daemon = Daemon::start(&format!(
        "app.secret = '{SECRET}'\napp.auth_url = '{}'\napp.auth_calls = 4\napp.auth_timeout = 3",
        application.url
    ));
    let count = |what: &str| daemon.metric(&format!("askr_auth_calls_total{{result=\"{what}\"}}"));
    let ask = |n: usize| {
        let mut client = Client::connect(daemon.address);
        let cookie = format!("laravel_session={n}");
        client.ask("/askr/events?channel=private-a", &[("Cookie", &cookie)]);
        client
    };
    let mut waiting: Vec<Client> = (0..4).map(ask).collect();
    daemon.until("askr_auth_calls_total{result=\"asked\"}", |n| n == 4);
    // No room for more: they are told to come back, at once.
    let mut more: Vec<Client> = (4..20).map(ask).collect();
    for client in &mut more {
        client.read_head();
        assert!(
            client.head.starts_with("HTTP/1.1 200 OK\r\n"),
            "{}",
            client.head
        );
        assert!(client.end().is_empty() && client.parser.retry().is_some());
    }
    assert_eq!(count("full"), 16);
    // Whoever does not need it is served meanwhile.
    let mut open = daemon.open("a");
    let bearer = format!("Bearer {}", token(&["private-a"], 60));
    let mut private = daemon.open_with("channel=private-a", &[("Authorization", &bearer)]);
    daemon.publish("a", "public");
    daemon.publish("private-a", "by token");
    assert_eq!(
        (open.next().data, private.next().data),
        ("public".into(), "by token".into())
    );
    let body = grants::body(&open.me(), &["private-a"], Value::Null);
    let cookie = "Cookie: laravel_session=1\r\n";
    let said = grants::request(daemon.address, "POST", "/askr/subscribe", cookie, &body);
    assert_eq!(said.status, 503, "{said:?}");
    // All of that while it hung: not one call has ended.
    assert_eq!((count("asked"), count("away")), (4, 0));
    for client in &mut waiting {
        client.read_head();
        assert!(
            client.head.starts_with("HTTP/1.1 200 OK\r\n"),
            "{}",
            client.head
        );
        assert!(client.end().is_empty() && client.parser.retry().is_some());
    }
    assert_eq!(
        (count("asked"), count("away"), application.most.load(SeqCst)),
        (4, 4, 4)
    );

    // It is back: one question for all channels, with what the viewer sent.
    let answer = json!({"channels": {
        "private-a": true,
        "presence-b": {"user": 7, "info": {"name": "Ada"}},
    }});
    *application.answers.lock().unwrap() = Some(answer.to_string());
    application.asked.lock().unwrap().clear();
    let cookie = [
        ("Cookie", "laravel_session=1; askr_token="),
        ("X-Other", "not passed on"),
    ];
    let query = "channel=a&channel=private-a&channel=presence-b";
    let mut ada = daemon.open_with(query, &cookie);
    let (event, data) = ada.next_json();
    assert_eq!(event, "askr:members");
    assert_eq!(
        data["members"],
        json!([{"id": "7", "info": {"name": "Ada"}}])
    );
    let asked = application.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /askr/auth HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("x-askr-request: authorize"), "{head}");
    assert!(head.contains("cookie: laravel_session=1"), "{head}");
    assert!(!head.contains("x-other"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["channels"], json!(["private-a", "presence-b"]));
    // The same viewer a moment later costs no question; what it does not open stays closed.
    drop(daemon.open_with(query, &cookie));
    assert_eq!(
        (application.asked.lock().unwrap().len(), count("cached")),
        (1, 2)
    );
    let mut client = Client::connect(daemon.address);
    client.request("/askr/events?channel=private-z", &cookie);
    assert!(client.head.starts_with("HTTP/1.1 403 "), "{}", client.head);
}

#[test]
fn tokens_that_were_called_back_are_refused_also_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(&format!(
        "app.secret = '{SECRET}'\nserver.state_directory = '{}'",
        state.path().display()
    ));
    let channels = ["private-a", "presence-b"];
    let [mine, yours] = ["7", "8"].map(|user| token_of(user, &channels, 600));
    let open = |daemon: &Daemon, token: &str| {
        daemon.open_with(&format!("channel=private-a&token={token}"), &[])
    };
    let refused = |daemon: &Daemon, token: &str| {
        let mut client = Client::connect(daemon.address);
        client.request(
            &format!("/askr/events?channel=private-a&token={token}"),
            &[],
        );
        client.head.starts_with("HTTP/1.1 401 ")
    };
    let (mut one, mut two) = (open(&daemon, &mine), open(&daemon, &mine));
    let mut other = open(&daemon, &yours);
    // One that became the user's later counts too.
    let mut third = daemon.open("a");
    daemon.subscribe(&third.me(), &["presence-b"], json!({"token": mine}));
    assert_eq!(daemon.disconnect(&json!({"user": "7"})), 3);
    for client in [&mut one, &mut two] {
        assert!(client.end().is_empty());
    }
    assert_eq!(third.end().len(), 1, "its snapshot");
    assert_eq!(
        daemon.metric("askr_streams_ended_total{reason=\"command\"}"),
        3
    );
    // So does one that began as another's.
    let mut fourth = open(&daemon, &yours);
    let more = json!({"token": token_of("9", &["private-*"], 600)});
    daemon.subscribe(&fourth.me(), &["private-x"], more);
    assert_eq!(daemon.disconnect(&json!({"user": "9"})), 1);
    assert!(fourth.end().is_empty());
    daemon.publish("private-a", "goes on");
    assert_eq!(other.next().data, "goes on");
    assert!(refused(&daemon, &mine) && !refused(&daemon, &yours));
    let said = daemon.try_subscribe(&other.me(), &["presence-b"], json!({"token": mine}));
    assert_eq!(said.status, 401, "{said:?}");

    // On the disk in a moment; killed after that, it still knows.
    let file = state.path().join("revoked-askr");
    common::until(|| std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with(" 7\n")));
    daemon.signal(Signal::SIGKILL);
    daemon.restart();
    assert!(refused(&daemon, &mine) && !refused(&daemon, &yours));
    // One issued after that second is good.
    common::until(|| !refused(&daemon, &token_of("7", &channels, 600)));
    assert!(refused(&daemon, &mine));
    // One connection alone: its tokens stay good.
    let mut one = open(&daemon, &yours);
    assert_eq!(daemon.disconnect(&json!({"socket_id": one.me().id})), 1);
    assert!(one.end().is_empty());
    assert!(!refused(&daemon, &yours));
    assert_eq!(daemon.disconnect(&json!({"user": "nobody"})), 0);
}

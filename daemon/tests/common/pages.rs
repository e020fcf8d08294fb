//! Pages of a channel's history, and what a replay of the same gives.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::Value;

use super::Daemon;

/// How events begin by which a replay is known to be over.
pub const MARK: &str = "the end of replay";

/// Status and body of a request to the control socket.
pub fn ask(daemon: &Daemon, method: &str, target: &str) -> (u16, String) {
    let mut socket = UnixStream::connect(daemon.directory.path().join("control.sock")).unwrap();
    write!(
        socket,
        "{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// A page over the control socket.
pub fn page(daemon: &Daemon, channel: &str, query: &str) -> Value {
    let ring = daemon.ring();
    let target = format!("/history?ring={}&channel={channel}&{query}", ring.display());
    let (status, body) = ask(daemon, "GET", &target);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// What was erased of a channel.
pub fn forget(daemon: &Daemon, channel: &str) -> u64 {
    let ring = daemon.ring();
    let target = format!("/forget?ring={}&channel={channel}", ring.display());
    let (status, body) = ask(daemon, "POST", &target);
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    answer["forgotten"].as_u64().unwrap()
}

/// Cursor and data of a page's events.
pub fn rows(page: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = page["events"].as_array().unwrap().iter();
    rows.map(|row| (text(&row["cursor"]), text(&row["data"])))
        .collect()
}

pub fn data(page: &Value) -> Vec<String> {
    rows(page).into_iter().map(|(_, data)| data).collect()
}

/// What pages, one after the other, say together: their events, oldest first, and the numbers of their gaps.
#[derive(Debug, Default, PartialEq)]
pub struct Whole {
    pub rows: Vec<(String, String)>,
    /// As (lost, at most), summed up; None where one of them was not known.
    pub gap: (Option<u64>, Option<u64>),
    pub pages: usize,
}

impl Whole {
    fn miss(&mut self, gap: &Value) {
        if !gap.is_null() {
            let add = |sum: Option<u64>, more: &Value| Some(sum? + more.as_u64()?);
            self.gap = (
                add(self.gap.0, &gap["lost"]),
                add(self.gap.1, &gap["at_most"]),
            );
        }
    }
}

/// Page after page from `since` on.
pub fn forward(daemon: &Daemon, channel: &str, since: &str, limit: usize) -> Whole {
    let mut whole = Whole {
        gap: (Some(0), Some(0)),
        ..Whole::default()
    };
    let mut since = Some(since.to_owned());
    while let Some(cursor) = since {
        let page = page(daemon, channel, &format!("limit={limit}&since={cursor}"));
        let rows = rows(&page);
        assert!(rows.len() <= limit);
        whole.rows.extend(rows);
        whole.miss(&page["gap"]);
        whole.pages += 1;
        since = page["next"].as_str().map(str::to_owned);
    }
    whole
}

/// Page after page from the newest one back.
pub fn backward(daemon: &Daemon, channel: &str, limit: usize) -> Whole {
    let mut whole = Whole {
        gap: (Some(0), Some(0)),
        ..Whole::default()
    };
    let mut query = format!("limit={limit}");
    loop {
        let page = page(daemon, channel, &query);
        let mut rows = rows(&page);
        assert!(rows.len() <= limit);
        rows.append(&mut whole.rows);
        whole.rows = rows;
        whole.miss(&page["gap"]);
        whole.pages += 1;
        match page["next"].as_str() {
            None => return whole,
            Some(next) => query = format!("limit={limit}&before={next}"),
        }
    }
}

/// What a stream is sent that resumes at `since`, up to an event that is published now. In the channel's history that is
/// one more: whoever compares asks for the pages first.
pub fn replay(daemon: &Daemon, channel: &str, since: &str) -> Whole {
    static MARKS: AtomicU64 = AtomicU64::new(0);
    let mark = format!("{MARK} {}", MARKS.fetch_add(1, Relaxed));
    let mut stream = daemon.resume(channel, since);
    daemon.publish(channel, &mark);
    let mut whole = Whole {
        gap: (Some(0), Some(0)),
        ..Whole::default()
    };
    loop {
        let message = stream.next();
        match message.event.as_str() {
            "askr:gap" => whole.miss(&serde_json::from_str(&message.data).unwrap()),
            _ if message.data == mark => return whole,
            _ => whole.rows.push((message.id, message.data)),
        }
    }
}

//! The dashboard of a running askrd, and who asks it for something.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::{Daemon, PATIENCE, write_settings};

pub const OPERATOR: &str = "the-operators-own-secret";

pub struct Page {
    pub daemon: Daemon,
    pub at: SocketAddr,
    /// What the browser knows it by.
    pub host: String,
    /// The file of the operator's secret.
    pub file: PathBuf,
    _secrets: TempDir,
}

/// A file with the operator's secret.
pub fn secrets() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    write_settings(&file, OPERATOR);
    let name = file.to_str().unwrap().to_owned();
    (directory, name)
}

pub fn page(settings: &str) -> Page {
    let (secrets, file) = secrets();
    let daemon = Daemon::start(&format!(
        "server.dashboard = '127.0.0.1:0'\nserver.dashboard_secret_file = '{file}'\n{settings}"
    ));
    Page::of(daemon, secrets)
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Self {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}{}", self.head, self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines();
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }

    /// The cookie that is set, as a browser sends it.
    pub fn cookie(&self) -> String {
        assert_eq!(self.status, 303, "{}{}", self.head, self.body);
        let cookie = self.header("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }
}

pub fn ask(mut socket: impl Read + Write, head: &str, body: &str) -> Answer {
    let length = body.len();
    write!(socket, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
    read(socket)
}

/// What is answered, all of it.
pub fn read(mut socket: impl Read) -> Answer {
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    Answer::of(&text)
}

impl Page {
    /// That of a daemon with these secrets.
    pub fn of(daemon: Daemon, secrets: TempDir) -> Self {
        let at = daemon.operators("server.dashboard");
        Self {
            at,
            daemon,
            host: at.to_string(),
            file: secrets.path().join("secret"),
            _secrets: secrets,
        }
    }

    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.at).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    pub fn get(&self, path: &str, cookie: &str) -> Answer {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n",
            self.host
        );
        ask(self.connect(), &head, "")
    }

    /// `headers`: whole lines.
    pub fn post(&self, path: &str, cookie: &str, headers: &str, body: &str) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n{headers}",
            self.host
        );
        ask(self.connect(), &head, body)
    }

    pub fn origin(&self) -> String {
        format!("Origin: http://{}\r\n", self.host)
    }

    pub fn try_secret(&self, secret: &str) -> Answer {
        self.post("/login", "", &self.origin(), &format!("secret={secret}"))
    }

    /// The cookie of a session.
    pub fn login(&self) -> String {
        self.try_secret(OPERATOR).cookie()
    }

    pub fn live(&self, cookie: &str) -> Live {
        let mut socket = self.connect();
        write!(
            socket,
            "GET /live HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n",
            self.host
        )
        .unwrap();
        Live(BufReader::new(socket))
    }
}

pub struct Live(BufReader<TcpStream>);

impl Live {
    /// The data of the next message of this name.
    pub fn next(&mut self, name: &str) -> Value {
        let mut event = String::new();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "it ended");
            if let Some(other) = line.trim_end().strip_prefix("event: ") {
                event = other.to_owned();
            }
            if let Some(data) = line
                .trim_end()
                .strip_prefix("data: ")
                .filter(|_| event == name)
            {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// Reads until it ends.
    pub fn end(mut self) {
        std::io::copy(&mut self.0, &mut std::io::sink()).unwrap();
    }

    /// The first picture of which this is so.
    pub fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let now = self.next("now");
            if is(&now) {
                return now;
            }
        }
    }
}

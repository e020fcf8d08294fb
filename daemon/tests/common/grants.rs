//! What an application gives its viewers: tokens and Pusher's signatures; and what a page does with
//! them: changes of its stream, questions of PHP over the control socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Client, Daemon};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn hmac(secret: &str, text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// HMAC-SHA256 by [`SECRET`], in hexadecimal digits.
pub fn code(text: &str) -> String {
    code_by(SECRET, text)
}

pub fn code_by(secret: &str, text: &str) -> String {
    let code = hmac(secret, text);
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A JWT with these claims.
pub fn token_by(secret: &str, claims: &Value) -> String {
    token_of_header(secret, &json!({"alg": "HS256"}), claims)
}

pub fn token_with_kid(secret: &str, kid: &str, claims: &Value) -> String {
    token_of_header(secret, &json!({"alg": "HS256", "kid": kid}), claims)
}

fn token_of_header(secret: &str, header: &Value, claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac(secret, &signed));
    format!("{signed}.{signature}")
}

/// For `channels`, of nobody, issued now.
pub fn token(channels: &[&str], seconds: u64) -> String {
    token_by(
        SECRET,
        &json!({"channels": channels, "iat": now(), "exp": now() + seconds}),
    )
}

/// For `channels`, of a user with a name, issued now.
pub fn token_of(user: &str, channels: &[&str], seconds: u64) -> String {
    let info = json!({"name": format!("user {user}")});
    let claims = json!({"channels": channels, "sub": user, "info": info,
        "iat": now(), "exp": now() + seconds});
    token_by(SECRET, &claims)
}

/// As Laravel's /broadcasting/auth answers. `data`: `channel_data`, on presence channels.
pub fn signature(key: &str, socket: &str, channel: &str, data: Option<&str>) -> Value {
    signature_by(SECRET, key, socket, channel, data)
}

pub fn signature_by(
    secret: &str,
    key: &str,
    socket: &str,
    channel: &str,
    data: Option<&str>,
) -> Value {
    let text = match data {
        Some(data) => format!("{socket}:{channel}:{data}"),
        None => format!("{socket}:{channel}"),
    };
    let code = hmac(secret, &text);
    let digits: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut answer = json!({"auth": format!("{key}:{digits}")});
    if let Some(data) = data {
        answer["channel_data"] = data.into();
    }
    answer
}

/// What `askr:connected` told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    pub id: String,
    pub secret: String,
}

impl Client {
    /// Who it is: what it was told last.
    pub fn me(&mut self) -> Socket {
        while self.parser.connected().is_empty() {
            assert!(self.read(), "ended before it was told who it is");
        }
        let told = self.parser.connected().last().unwrap();
        let told: Value = serde_json::from_str(told).unwrap();
        let text = |key: &str| told[key].as_str().unwrap().to_owned();
        Socket {
            id: text("socket_id"),
            secret: text("secret"),
        }
    }

    /// The next event's name and its data as JSON.
    pub fn next_json(&mut self) -> (String, Value) {
        let message = self.next();
        let data = serde_json::from_str(&message.data);
        let data = data.unwrap_or_else(|why| panic!("{why}: {message:?}"));
        (message.event, data)
    }
}

/// An answer to a POST.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}

fn said(mut socket: impl Read) -> Said {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // What was not read may be answered by a reset, after the answer.
    while let Ok(n @ 1..) = socket.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..n]);
    }
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Said {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// `headers`: whole lines.
pub fn request(address: SocketAddr, method: &str, target: &str, headers: &str, body: &str) -> Said {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(super::PATIENCE)).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    // It may be refused before it has been sent.
    let _ = socket.write_all((head + body).as_bytes());
    said(socket)
}

/// The body of a change of this stream.
pub fn body(socket: &Socket, channels: &[&str], more: Value) -> String {
    let mut body = json!({"socket_id": socket.id, "secret": socket.secret, "channels": channels});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body.to_string()
}

impl Daemon {
    /// Bytes of memory it has now.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib: u64 = line
            .unwrap()
            .trim()
            .strip_suffix(" kB")
            .unwrap()
            .parse()
            .unwrap();
        kib << 10
    }

    pub fn post(&self, path: &str, body: &str) -> Said {
        request(self.address, "POST", path, "", body)
    }

    /// Adds channels to a stream: the answer as it is.
    pub fn try_subscribe(&self, socket: &Socket, channels: &[&str], more: Value) -> Said {
        self.post("/askr/subscribe", &body(socket, channels, more))
    }

    /// Adds channels to a stream; returns those it has then.
    pub fn subscribe(&self, socket: &Socket, channels: &[&str], more: Value) -> Vec<String> {
        changed(&self.try_subscribe(socket, channels, more))
    }

    pub fn unsubscribe(&self, socket: &Socket, channels: &[&str]) -> Vec<String> {
        changed(&self.post("/askr/unsubscribe", &body(socket, channels, Value::Null)))
    }

    /// Asks the control socket about the application with this ring.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Said {
        let mut socket = UnixStream::connect(self.directory.path().join("control.sock")).unwrap();
        socket.set_read_timeout(Some(super::PATIENCE)).unwrap();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        socket.write_all((head + body).as_bytes()).unwrap();
        said(socket)
    }

    /// Subscribers of each channel, as `askr_channels()` gets them.
    pub fn channels(&self) -> Value {
        let ring = self.ring();
        let said = self.ask("GET", &format!("/channels?ring={}", ring.display()), "");
        said.json()["channels"].clone()
    }

    /// The ids of a channel's members, as `askr_members()` gets them.
    pub fn members(&self, channel: &str) -> Vec<String> {
        let ring = self.ring();
        let path = format!("/members?ring={}&channel={channel}", ring.display());
        let said = self.ask("GET", &path, "").json();
        let members = said["members"].as_array().unwrap();
        let id = |member: &Value| member["id"].as_str().unwrap().to_owned();
        members.iter().map(id).collect()
    }

    /// Ends a connection, `{"socket_id":…}`, or all of a user, `{"user":…}`; returns how many.
    pub fn disconnect(&self, target: &Value) -> u64 {
        let path = format!("/disconnect?ring={}", self.ring().display());
        let said = self.ask("POST", &path, &target.to_string()).json();
        said["ended"].as_u64().unwrap()
    }
}

fn changed(said: &Said) -> Vec<String> {
    assert_eq!(said.status, 200, "{said:?}");
    let channels = said.json()["channels"].clone();
    let mut channels: Vec<String> = serde_json::from_value(channels).unwrap();
    channels.sort();
    channels
}

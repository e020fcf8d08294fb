//! WebSocket clients: one that speaks nothing above frames, and one of Pusher's protocol. The library
//! below judges what the server sends: a masked frame, text that is no UTF-8 or a reserved bit is an error.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tungstenite::{ClientRequestBuilder, Error, HandshakeError, Message, WebSocket};

use super::grants::{SECRET, signature};
use super::{Daemon, PATIENCE};

/// Key and secret of an application.
pub const APP: &str = "app.id = '7'\napp.key = 'app-key'\napp.secret = '";
pub const KEY: &str = "app-key";

/// Settings of one application with a key, and `more`.
pub fn app(more: &str) -> String {
    format!("{APP}{SECRET}'\n{more}")
}

/// An open WebSocket.
pub struct Socket {
    pub web: WebSocket<TcpStream>,
    /// Ping frames that came.
    pub pings: usize,
}

impl Socket {
    pub fn open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let uri = format!("ws://x{target}").parse().unwrap();
        let mut request = ClientRequestBuilder::new(uri);
        for (name, value) in headers {
            request = request.with_header(*name, *value);
        }
        let opened = match tungstenite::client(request, stream) {
            Ok((web, _)) => web,
            Err(HandshakeError::Failure(why)) => panic!("{target}: {why:?}"),
            Err(HandshakeError::Interrupted(_)) => panic!("{target}: nothing came"),
        };
        Self {
            web: opened,
            pings: 0,
        }
    }

    pub fn say(&mut self, message: &Value) {
        self.text(&message.to_string());
    }

    pub fn text(&mut self, text: &str) {
        self.web.send(Message::text(text)).unwrap();
    }

    /// Bytes past the library, as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.web.get_mut().write_all(bytes).unwrap();
    }

    /// Everything until the end, past the library, which thus answers nothing.
    pub fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.web.get_mut().read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// The next message; the close as Err.
    pub fn try_next(&mut self) -> Result<Value, (u16, String)> {
        loop {
            match self.web.read() {
                Ok(Message::Text(text)) => {
                    let read = serde_json::from_str(&text);
                    return Ok(read.unwrap_or_else(|why| panic!("{why}: {text}")));
                }
                Ok(Message::Ping(_)) => self.pings += 1,
                Ok(Message::Close(Some(frame))) => {
                    return Err((frame.code.into(), frame.reason.to_string()));
                }
                Ok(other) => panic!("unexpected: {other:?}"),
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    return Err((1005, String::new()));
                }
                Err(why) => panic!("neither a message nor a close: {why:?}"),
            }
        }
    }

    pub fn next(&mut self) -> Value {
        self.try_next()
            .unwrap_or_else(|close| panic!("closed: {close:?}"))
    }

    /// Passes over what comes until it is so.
    pub fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next();
            if is(&message) {
                return message;
            }
        }
    }

    /// Waits for the close and the end of the connection behind it; returns what came before, code
    /// and reason.
    pub fn end(&mut self) -> (Vec<Value>, u16, String) {
        let mut before = Vec::new();
        let (code, reason) = loop {
            match self.try_next() {
                Ok(message) => before.push(message),
                Err(close) => break close,
            }
        };
        match self.web.read() {
            Ok(other) => panic!("after the close: {other:?}"),
            // A reset is an end as well, once the close was read.
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => {}
            Err(Error::Io(_) | Error::Protocol(_)) => {}
            Err(why) => panic!("{why:?}"),
        }
        (before, code, reason)
    }

    pub fn code(&mut self) -> u16 {
        self.end().1
    }
}

/// A client of Pusher's protocol.
pub struct Pusher {
    pub ws: Socket,
    pub id: String,
}

impl Pusher {
    pub fn connect(daemon: &Daemon) -> Self {
        Self::with(daemon, "protocol=7&client=js&version=8.4.0")
    }

    /// One that asks for recovery.
    pub fn recovering(daemon: &Daemon) -> Self {
        Self::with(daemon, "protocol=7&client=js&version=8.4.0&askr=1")
    }

    pub fn with(daemon: &Daemon, query: &str) -> Self {
        let mut ws = Socket::open(daemon.address, &format!("/app/{KEY}?{query}"), &[]);
        let hello = ws.next();
        assert_eq!(hello["event"], "pusher:connection_established", "{hello}");
        let id = data(&hello)["socket_id"].as_str().unwrap().to_owned();
        Self { ws, id }
    }

    pub fn send(&mut self, event: &str, data: Value) {
        self.ws.say(&json!({"event": event, "data": data}));
    }

    /// Subscribes with these members of the data besides the channel; returns the answer.
    pub fn try_subscribe(&mut self, channel: &str, more: Value) -> Value {
        let mut data = json!({"channel": channel});
        for (key, value) in more.as_object().into_iter().flatten() {
            data[key] = value.clone();
        }
        self.send("pusher:subscribe", data);
        self.next()
    }

    /// The same, signed where it must be; it succeeds.
    pub fn subscribe(&mut self, channel: &str) -> Value {
        self.subscribe_since(channel, None)
    }

    pub fn subscribe_since(&mut self, channel: &str, cursor: Option<&str>) -> Value {
        let mut more = match channel.starts_with("private-") {
            true => signature(KEY, &self.id, channel, None),
            false => json!({}),
        };
        if let Some(cursor) = cursor {
            more["askr"] = json!({"cursor": cursor});
        }
        let told = self.try_subscribe(channel, more);
        assert_eq!(
            told["event"], "pusher_internal:subscription_succeeded",
            "{told}"
        );
        assert_eq!(told["channel"], channel);
        told
    }

    /// As this user.
    pub fn join(&mut self, channel: &str, user: &str) -> Value {
        let data = json!({"user_id": user, "user_info": {"name": user}}).to_string();
        let more = signature(KEY, &self.id, channel, Some(&data));
        let told = self.try_subscribe(channel, more);
        assert_eq!(
            told["event"], "pusher_internal:subscription_succeeded",
            "{told}"
        );
        told
    }

    /// Signs in, and waits for nothing.
    pub fn sign_in(&mut self, user: &str, watchlist: &[&str]) {
        let data = json!({"id": user, "watchlist": watchlist}).to_string();
        let auth = super::grants::code(&format!("{}::user::{data}", self.id));
        self.send(
            "pusher:signin",
            json!({"auth": format!("{KEY}:{auth}"), "user_data": data}),
        );
    }

    /// The next message that is no ping.
    pub fn next(&mut self) -> Value {
        self.ws.until(|message| message["event"] != "pusher:ping")
    }

    /// The data of the next `count` events, all of this channel.
    pub fn take(&mut self, channel: &str, count: usize) -> Vec<String> {
        let text = |message: Value| {
            assert_eq!(message["channel"], channel, "{message}");
            message["data"].as_str().unwrap().to_owned()
        };
        (0..count).map(|_| text(self.next())).collect()
    }
}

/// A message's data, which is JSON in a string.
pub fn data(message: &Value) -> Value {
    let text = message["data"].as_str();
    let text = text.unwrap_or_else(|| panic!("data is a string: {message}"));
    serde_json::from_str(text).unwrap()
}

/// A frame as a client sends it, with a mask that changes nothing.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
    out
}

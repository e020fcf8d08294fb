//! A receiver of Server-Sent Events, written from the specification alone (WHATWG HTML, section 9.2.6,
//! "Interpreting an event stream").

/// A dispatched message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `message` if the stream named none.
    pub event: String,
    pub data: String,
    /// The last event id when it was dispatched.
    pub id: String,
}

/// The parser of one stream.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    data: String,
    event: String,
    id: String,
    last_id: String,
    retry: Option<u32>,
    comments: u64,
    retries: u64,
    connected: Vec<String>,
    subscribed: Vec<String>,
}

impl Parser {
    /// Feeds bytes and returns the messages that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for &byte in bytes {
            let skip = byte == b'\n' && std::mem::take(&mut self.after_cr);
            self.after_cr = byte == b'\r';
            match byte {
                _ if skip => {}
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    let line = String::from_utf8(line).expect("streams are UTF-8");
                    messages.extend(self.line(&line));
                }
                _ => self.line.push(byte),
            }
        }
        messages
    }

    /// What a browser would send as `Last-Event-ID`.
    pub fn last_event_id(&self) -> &str {
        &self.last_id
    }

    /// The last reconnection time, in milliseconds.
    pub fn retry(&self) -> Option<u32> {
        self.retry
    }

    /// How many reconnection times were received.
    pub fn retries(&self) -> u64 {
        self.retries
    }

    /// How many comments were received.
    pub fn comments(&self) -> u64 {
        self.comments
    }

    /// The data of each `askr:connected`. It is not among the messages, since every stream begins with it.
    pub fn connected(&self) -> &[String] {
        &self.connected
    }

    /// The data of each `askr:subscribed`. It is not among the messages: every added channel has one.
    pub fn subscribed(&self) -> &[String] {
        &self.subscribed
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = match line.split_once(':') {
            Some(("", _)) => {
                self.comments += 1;
                return None;
            }
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (line, ""),
        };
        match field {
            "event" => self.event = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = value.to_owned(),
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok();
                self.retries += 1;
            }
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Message> {
        self.last_id = self.id.clone();
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        data.pop()?;
        let event = if event.is_empty() {
            "message".to_owned()
        } else {
            event
        };
        let told_apart = match event.as_str() {
            "askr:connected" => Some(&mut self.connected),
            "askr:subscribed" => Some(&mut self.subscribed),
            _ => None,
        };
        if let Some(told) = told_apart {
            told.push(data);
            return None;
        }
        Some(Message {
            event,
            data,
            id: self.last_id.clone(),
        })
    }
}

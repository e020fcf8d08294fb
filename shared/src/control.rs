//! One question to askrd over its control socket: HTTP/1.1 on a Unix socket. PHP and the commands of askrd
//! ask by it.
//!
//! Each question has a connection of its own: one that was kept would be shared by the children of a
//! fork. Whoever asks waits, but never for long: connecting, writing and reading each have a limit, and
//! so have all of them together, which an answer that trickles does not stretch. What comes back is not
//! believed to be askrd's: head and body are bounded, the head is parsed by `httparse`.

use std::fmt::Write;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use socket2::{Domain, SockAddr, Socket, Type};

/// Bytes of the status line and headers. askrd sends some 150.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// Characters of the reason that comes with a refusal; more is cut.
const MAX_WHY: usize = 300;

/// What a question may take.
pub struct Limits {
    /// Connecting, and each write: askrd takes what it is sent at once. For its answer it may have to ask other hosts.
    pub each: Duration,
    /// From the first step to the last byte of the answer.
    pub all: Duration,
    /// Bytes of an answer's body. A hundred thousand channels with long names fit into the default.
    pub answer: usize,
}

pub const LIMITS: Limits = Limits {
    each: Duration::from_secs(1),
    all: Duration::from_secs(2),
    answer: 16 << 20,
};

/// A question: POST with a body of JSON, GET without.
pub struct Question<'a> {
    pub path: &'a str,
    pub query: &'a [(&'a str, &'a str)],
    pub body: Option<&'a [u8]>,
}

/// Why there is no answer. `Display` continues "askrd at SOCKET ".
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("cannot be asked: {why}; {hint}", hint = hint(.0), why = .0)]
    Away(io::Error),
    #[error("did not answer in time; is it stopped or overloaded?")]
    Late,
    #[error("went away while it was asked: {0}")]
    Cut(io::Error),
    #[error("gave no answer that can be understood: {0}; is it askrd that listens there?")]
    Strange(&'static str),
    #[error("gave an answer of more than {0} bytes")]
    TooLarge(usize),
    #[error("refuses: {why} (status {status})")]
    Refused { status: u16, why: String },
}

fn hint(why: &io::Error) -> &'static str {
    match why.kind() {
        ErrorKind::PermissionDenied => "does this user belong to the socket's group?",
        _ => "is askrd running with this control socket?",
    }
}

/// The body of the answer, whose status is 200.
///
/// # Errors
/// If askrd is away, late, refuses, or answers what nobody understands.
pub fn ask(socket: &Path, question: &Question, limits: &Limits) -> Result<Vec<u8>, Trouble> {
    let mut connection = Connection::connect(socket, limits)?;
    connection.send(&question.bytes())?;
    let mut bytes = Vec::new();
    let Head {
        status,
        end,
        length,
    } = loop {
        if let Some(head) = Head::parse(&bytes)? {
            break head;
        }
        if bytes.len() > MAX_HEAD {
            return Err(Trouble::Strange("its head does not end"));
        }
        if connection.receive(&mut bytes, MAX_HEAD)? == 0 {
            return Err(Trouble::Strange("it ended before its head did"));
        }
    };
    bytes.drain(..end);
    // Without a length the answer is what comes until the connection ends.
    let wanted = match length {
        Some(length) if length > limits.answer => return Err(Trouble::TooLarge(limits.answer)),
        Some(length) => length,
        None => limits.answer + 1,
    };
    while bytes.len() < wanted {
        let missing = wanted - bytes.len();
        if connection.receive(&mut bytes, missing)? == 0 {
            break;
        }
    }
    match length {
        Some(length) if bytes.len() < length => return Err(Trouble::Strange("it was cut short")),
        Some(length) => bytes.truncate(length),
        None if bytes.len() > limits.answer => return Err(Trouble::TooLarge(limits.answer)),
        None => {}
    }
    if status == 200 {
        return Ok(bytes);
    }
    let why = String::from_utf8_lossy(&bytes);
    let why = match why.lines().next().map_or("", str::trim) {
        "" => "it does not say why",
        why => why,
    };
    Err(Trouble::Refused {
        status,
        why: why.chars().take(MAX_WHY).collect(),
    })
}

impl Question<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        let method = if self.body.is_some() { "POST" } else { "GET" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{method} {}", self.path);
        for (n, (key, value)) in self.query.iter().enumerate() {
            let mark = if n == 0 { '?' } else { '&' };
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            let _ = write!(text, "{mark}{key}={value}");
        }
        text.push_str(" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        if let Some(body) = self.body {
            let length = body.len();
            let _ = write!(
                text,
                "Content-Type: application/json\r\nContent-Length: {length}\r\n"
            );
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body.unwrap_or_default());
        bytes
    }
}

/// A connection with a deadline.
struct Connection {
    socket: Socket,
    each: Duration,
    all: Duration,
    until: Instant,
}

impl Connection {
    fn connect(path: &Path, limits: &Limits) -> Result<Self, Trouble> {
        let until = Instant::now() + limits.all;
        let address = SockAddr::unix(path).map_err(Trouble::Away)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(Trouble::Away)?;
        let Limits { each, all, .. } = *limits;
        let connection = Self {
            socket,
            each,
            all,
            until,
        };
        // Linux waits for a place in the listener's backlog as long as for a write (unix(7), SO_SNDTIMEO).
        connection.patiently(each, Trouble::Away, |socket, time| {
            socket.set_write_timeout(Some(time))?;
            socket.connect(&address)
        })?;
        Ok(connection)
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            // Without a signal: PHP's command line does not ignore SIGPIPE.
            let sent = self.patiently(self.each, Trouble::Cut, |socket, time| {
                socket.set_write_timeout(Some(time))?;
                socket.send_with_flags(bytes, libc::MSG_NOSIGNAL)
            })?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Appends at most `most` bytes; 0 at the end.
    fn receive(&mut self, to: &mut Vec<u8>, most: usize) -> Result<usize, Trouble> {
        const STEP: usize = 64 * 1024;
        let before = to.len();
        to.resize(before + most.min(STEP), 0);
        let received = self.patiently(self.all, Trouble::Cut, |mut socket, time| {
            socket.set_read_timeout(Some(time))?;
            socket.read(&mut to[before..])
        });
        to.truncate(before + *received.as_ref().unwrap_or(&0));
        received
    }

    /// One step within `most` and the time that is left, again after a signal that interrupted it.
    fn patiently<T>(
        &self,
        most: Duration,
        otherwise: fn(io::Error) -> Trouble,
        mut step: impl FnMut(&Socket, Duration) -> io::Result<T>,
    ) -> Result<T, Trouble> {
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Trouble::Late);
            }
            // The kernel takes a limit that rounds to zero for none.
            let time = left.min(most).max(Duration::from_millis(1));
            match step(&self.socket, time) {
                Ok(done) => return Ok(done),
                Err(why) => match why.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(Trouble::Late),
                    _ => return Err(otherwise(why)),
                },
            }
        }
    }
}

/// What the head of an answer says.
struct Head {
    status: u16,
    /// Bytes of the head.
    end: usize,
    /// Bytes of the body; none: up to the end of the connection.
    length: Option<usize>,
}

impl Head {
    /// None while it is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Trouble> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let end = match answer.parse(bytes) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Trouble::Strange("it is not HTTP")),
        };
        let mut length = None;
        for header in answer.headers.iter() {
            if header.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(Trouble::Strange("it has a transfer encoding"));
            }
            if header.name.eq_ignore_ascii_case("content-length") {
                let given = std::str::from_utf8(header.value)
                    .ok()
                    .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|text| text.parse().ok())
                    .filter(|given| length.is_none_or(|length| length == *given));
                length = Some(given.ok_or(Trouble::Strange("its length is no number"))?);
            }
        }
        let status = answer.code.unwrap_or_default();
        Ok(Some(Self {
            status,
            end,
            length,
        }))
    }
}

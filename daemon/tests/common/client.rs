//! A subscriber over SSE.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use protocol::testing::sse::{Message, Parser};

use super::PATIENCE;

/// A subscriber.
pub struct Client<S = TcpStream> {
    pub socket: S,
    pub head: String,
    pub parser: Parser,
    messages: VecDeque<Message>,
}

/// From this address of the loopback network.
pub fn connect_from(address: SocketAddr, from: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::timed(TcpStream::connect(address).unwrap())
    }

    /// From this address of the loopback network.
    pub fn connect_from(address: SocketAddr, from: &str) -> Self {
        Self::timed(connect_from(address, from))
    }

    fn timed(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::on(socket)
    }

    /// The same with the head of an answer; None where none comes.
    pub fn try_read_head(mut self) -> Option<Self> {
        let answers = matches!(self.socket.peek(&mut [0]), Ok(1..));
        answers.then(|| {
            self.read_head();
            self
        })
    }

    pub fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    pub fn on(socket: S) -> Self {
        Self {
            socket,
            head: String::new(),
            parser: Parser::default(),
            messages: VecDeque::new(),
        }
    }

    pub fn request(&mut self, target: &str, headers: &[(&str, &str)]) {
        self.ask(target, headers);
        self.read_head();
    }

    /// Sends a request, and waits for nothing.
    pub fn ask(&mut self, target: &str, headers: &[(&str, &str)]) {
        let mut request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n");
        headers
            .iter()
            .for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
        self.socket
            .write_all((request + "\r\n").as_bytes())
            .unwrap();
    }

    /// Asks where the connection may have been closed already.
    pub fn try_ask(&mut self, target: &str) -> std::io::Result<()> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.socket.write_all(request.as_bytes())
    }

    pub fn read_head(&mut self) {
        let mut bytes = Vec::new();
        let end = loop {
            let n = self.read_into(&mut bytes);
            assert!(
                n > 0,
                "ended in the head: {}",
                String::from_utf8_lossy(&bytes)
            );
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        self.head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        self.messages.extend(self.parser.feed(&bytes[end..]));
    }

    fn read_into(&mut self, bytes: &mut Vec<u8>) -> usize {
        let mut buffer = [0; 16384];
        let n = self
            .socket
            .read(&mut buffer)
            .expect("something arrives in time");
        bytes.extend_from_slice(&buffer[..n]);
        n
    }

    /// Whether the stream opens; if not, it was asked to reconnect later.
    pub fn opens(&mut self) -> bool {
        while self.parser.connected().is_empty() {
            if !self.read() {
                assert!(self.parser.retry().is_some(), "told when to come back");
                return false;
            }
        }
        true
    }

    /// Reads once. False at the end.
    pub fn read(&mut self) -> bool {
        let mut bytes = Vec::new();
        match self.read_into(&mut bytes) {
            0 => false,
            _ => {
                self.messages.extend(self.parser.feed(&bytes));
                true
            }
        }
    }

    /// The next event; None at the end of the stream.
    pub fn try_next(&mut self) -> Option<Message> {
        while self.messages.is_empty() {
            if !self.read() {
                return None;
            }
        }
        self.messages.pop_front()
    }

    /// What has been read and not asked for yet.
    pub fn arrived(&mut self) -> Vec<Message> {
        self.messages.drain(..).collect()
    }

    pub fn next(&mut self) -> Message {
        self.try_next().expect("an event, not the end")
    }

    pub fn take(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next().data).collect()
    }

    /// Waits until a cursor other than `known` has been told, and returns it.
    pub fn cursor_after(&mut self, known: &str) -> String {
        while self.parser.last_event_id() == known {
            assert!(self.read(), "ended before a cursor");
        }
        self.parser.last_event_id().to_owned()
    }

    pub fn cursor(&mut self) -> String {
        self.cursor_after("")
    }

    /// Waits for the end; returns the events before it.
    pub fn end(&mut self) -> Vec<Message> {
        let mut buffer = [0; 16384];
        // Cut clients may see a reset instead of an end.
        while let Ok(n @ 1..) = self.socket.read(&mut buffer) {
            self.messages.extend(self.parser.feed(&buffer[..n]));
        }
        self.messages.drain(..).collect()
    }
}

//! The smallest receiver of Server-Sent Events (WHATWG HTML, "server-sent events") over plain TCP, and
//! a GET for the local control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What stands between two empty lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    pub event: Option<String>,
    pub id: Option<String>,
    /// None: nothing is dispatched, but the id counts.
    pub data: Option<Vec<u8>>,
}

/// An open stream.
pub struct Stream {
    lines: BufReader<TcpStream>,
}

impl Stream {
    /// Subscribes to `channel`, from after `last` on if there is one. A read that finds nothing for
    /// `quiet` is an error of kind `WouldBlock`.
    pub fn open(port: u16, channel: &str, last: Option<&str>, quiet: Duration) -> io::Result<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(quiet))?;
        let resume = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        write!(
            socket,
            "GET /askr/events?channel={channel} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{resume}\r\n"
        )?;
        let mut lines = BufReader::with_capacity(256 << 10, socket);
        let status = line(&mut lines)?;
        if !status.starts_with(b"HTTP/1.1 200 ") {
            let status = String::from_utf8_lossy(&status).into_owned();
            return Err(io::Error::other(status));
        }
        while !line(&mut lines)?.is_empty() {}
        Ok(Self { lines })
    }

    /// The next block; an error when the stream ends or is quiet for too long.
    pub fn block(&mut self) -> io::Result<Block> {
        read_block(&mut self.lines)
    }
}

fn read_block(from: &mut impl BufRead) -> io::Result<Block> {
    let mut block = Block::default();
    loop {
        let line = line(from)?;
        if line.is_empty() {
            return Ok(block);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"event" => block.event = Some(text()),
            b"id" => block.id = Some(text()),
            b"data" => match &mut block.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => block.data = Some(value.to_vec()),
            },
            // Comments and `retry`.
            _ => {}
        }
    }
}

/// Without its end. An end of the stream in the middle of a line is an end, not a line.
fn line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

/// The status and body of a GET on a local socket.
pub fn ask(socket: &Path, path: &str, limit: Duration) -> io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(limit))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.unwrap_or(0), body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_apart_and_a_cut_one_is_none() {
        let mut text: &[u8] = b": hi\nretry: 5\nid: a-1\n\nevent: x\r\nid: 7\r\ndata: a\r\ndata:b\r\n\r\ndata: \n\ndata: cut\n";
        let mut next = || read_block(&mut text);
        let first = next().unwrap();
        assert_eq!((first.id.as_deref(), first.data), (Some("a-1"), None));
        let second = next().unwrap();
        assert_eq!(second.event.as_deref(), Some("x"));
        assert_eq!(second.data.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(next().unwrap().data.as_deref(), Some(&b""[..]));
        assert_eq!(next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

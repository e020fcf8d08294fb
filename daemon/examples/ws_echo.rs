//! An echo server made of askrd's own WebSocket modules, for `make autobahn`: what it proves of them holds
//! for askrd. One thread per connection, since it is the modules that are tried here, not the engine.
//!
//! `ws_echo [ADDR]` (127.0.0.1:9001), tells the address it listens on, and runs until it is ended.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Version};
use protocol::ws::decoder::{Decoder, Message, Violation};
use protocol::ws::{frame, handshake};

/// Autobahn's largest message has 16 MiB.
const MAX_MESSAGE: usize = 16 << 20;
const MAX_HEAD: usize = 16 << 10;
/// A peer that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:9001"))?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(why) = serve(stream) {
                eprintln!("{why}");
            }
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let (head, mut rest) = head(&mut stream)?;
    let Some((method, version, headers)) = parse(&head) else {
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    };
    match handshake::accept(&method, version, &headers) {
        Ok(accept) => stream.write_all(&accept.response())?,
        Err(why) => {
            let status = why.status();
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{why}\n");
            return stream.write_all(head.as_bytes());
        }
    }
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let mut out = Vec::new();
        let open = echo(&mut decoder, &mut rest, &mut out);
        stream.write_all(&out)?;
        if !open {
            return linger(stream, &mut buffer);
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => rest = buffer[..n].to_vec(),
        }
    }
}

/// Answers everything in `input`. Whether the connection goes on.
fn echo(decoder: &mut Decoder, mut input: &mut [u8], out: &mut Vec<u8>) -> bool {
    loop {
        let answer = match decoder.next(&mut input, MAX_MESSAGE) {
            Ok(None) => return true,
            Ok(Some(Message::Text(text))) => frame::text(text.as_bytes()),
            Ok(Some(Message::Binary(bytes))) => frame::binary(&bytes),
            Ok(Some(Message::Ping(payload))) => frame::pong(&payload),
            Ok(Some(Message::Pong(_))) => continue,
            Ok(Some(Message::Close { code, .. })) => {
                out.extend(code.map_or_else(frame::close_empty, |code| frame::close(code, "")));
                return false;
            }
            Err(Violation { code, reason }) => {
                out.extend(frame::close(code, reason));
                return false;
            }
        };
        out.extend(answer);
    }
}

/// Reads on until the peer closes: a socket closed with bytes unread is reset, and the close frame lost.
fn linger(mut stream: TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    stream.shutdown(std::net::Shutdown::Write)?;
    while stream.read(buffer)? > 0 {}
    Ok(())
}

/// The bytes up to the empty line, and those behind it.
fn head(stream: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((bytes, rest));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
        if bytes.len() > MAX_HEAD {
            return Err(io::Error::other("the request's head is too long"));
        }
    }
}

/// askrd leaves this to hyper.
fn parse(head: &[u8]) -> Option<(Method, Version, HeaderMap)> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let method = words.next()?.parse().ok()?;
    let version = match words.nth(1)? {
        "HTTP/1.1" => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let name: HeaderName = name.parse().ok()?;
        headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    Some((method, version, headers))
}

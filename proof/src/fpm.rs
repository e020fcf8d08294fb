//! Publishing through php-fpm: the smallest FastCGI client that can ask a worker to run the script.
//! (FastCGI specification 1.0: records of 8 bytes of header and up to 64 KiB of content.)

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::book::{Board, Book, EVENTS};
use crate::roles;

const BEGIN: u8 = 1;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;
/// Events a request.
const BATCH: u64 = 40;

/// Requests after requests, until a worker dies under one, or it is told to stop.
pub fn publish(
    dir: &Path,
    id: u32,
    key: u64,
    seed: u64,
    socket: &Path,
    script: &Path,
) -> io::Result<()> {
    let book = Book::open(dir)?;
    let max = roles::spec(dir, false)?.max_payload();
    let mut from = 0;
    while from + BATCH <= EVENTS as u64 && book.get(Board::Stop) == 0 {
        let query = format!(
            "{}%20{id}%20{key}%20{seed}%20{from}%20{BATCH}%20{max}",
            dir.display()
        );
        let answer = request(socket, script, &query)?;
        // A worker that was killed leaves no answer: this incarnation ends with it.
        if !answer.ends_with("done") {
            if !answer.is_empty() {
                eprintln!("php-fpm: {answer}");
            }
            return Ok(());
        }
        from += BATCH;
    }
    Ok(())
}

/// What the script printed, headers included; empty when the connection broke.
fn request(socket: &Path, script: &Path, query: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    let script = script.display().to_string();
    let mut params = Vec::new();
    for (name, value) in [
        ("SCRIPT_FILENAME", script.as_str()),
        ("QUERY_STRING", query),
        ("REQUEST_METHOD", "GET"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
    ] {
        for len in [name.len(), value.len()] {
            params.extend_from_slice(&(len as u32 | 1 << 31).to_be_bytes());
        }
        params.extend_from_slice(name.as_bytes());
        params.extend_from_slice(value.as_bytes());
    }
    let mut records = Vec::new();
    // Role 1: responder; flags 0: the worker closes.
    for (kind, content) in [
        (BEGIN, &[0, 1, 0, 0, 0, 0, 0, 0][..]),
        (PARAMS, &params),
        (PARAMS, &[]),
        (STDIN, &[]),
    ] {
        let [high, low] = (content.len() as u16).to_be_bytes();
        records.extend_from_slice(&[1, kind, 0, 1, high, low, 0, 0]);
        records.extend_from_slice(content);
    }
    let mut answer = Vec::new();
    if stream
        .write_all(&records)
        .and_then(|()| stream.read_to_end(&mut answer))
        .is_err()
    {
        return Ok(String::new());
    }
    Ok(output(&answer))
}

fn output(mut records: &[u8]) -> String {
    let mut text = Vec::new();
    while let Some((head, rest)) = records.split_at_checked(8) {
        let (len, padding) = (
            u16::from_be_bytes([head[4], head[5]]) as usize,
            head[6] as usize,
        );
        if rest.len() < len + padding {
            break;
        }
        if head[1] == STDOUT || head[1] == STDERR {
            text.extend_from_slice(&rest[..len]);
        }
        records = &rest[len + padding..];
    }
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

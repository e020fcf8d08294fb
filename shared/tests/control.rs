//! The client of the control socket against servers that do what servers do when something is wrong.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use shared::control::{LIMITS, Limits, Question, Trouble, ask};
use tempfile::TempDir;

/// Short, where a test waits for them to pass.
const SHORT: Limits = Limits {
    each: Duration::from_millis(100),
    all: Duration::from_millis(300),
    answer: 1000,
};
/// Bounds for what has to be there in time, however slow the machine is.
const LONG: Limits = Limits {
    each: Duration::from_secs(60),
    all: Duration::from_secs(60),
    answer: 1000,
};

const PLAIN: Question = Question {
    path: "/channels",
    query: &[("ring", "/askr")],
    body: None,
};

struct Place {
    _dir: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        Self { _dir: dir, path }
    }

    /// Serves one connection with `how`; joined for what it returns.
    fn serve<T: Send + 'static>(
        how: impl FnOnce(UnixStream) -> T + Send + 'static,
    ) -> (Self, JoinHandle<T>) {
        let place = Self::new();
        let listener = UnixListener::bind(&place.path).unwrap();
        let server = thread::spawn(move || how(listener.accept().unwrap().0));
        (place, server)
    }
}

/// What was asked, up to the end of its head and `body` bytes more.
fn request(stream: &mut UnixStream, body: usize) -> String {
    let mut bytes = Vec::new();
    let complete = |bytes: &[u8]| {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        head.is_some_and(|at| bytes.len() >= at + 4 + body)
    };
    while !complete(&bytes) {
        let mut room = [0; 4096];
        let n = stream.read(&mut room).unwrap();
        assert_ne!(n, 0, "the question was cut short");
        bytes.extend_from_slice(&room[..n]);
    }
    String::from_utf8(bytes).unwrap()
}

/// Asks a server that reads the question, writes `answer` and closes.
fn answered(answer: &[u8], limits: &Limits) -> Result<Vec<u8>, Trouble> {
    let answer = answer.to_vec();
    let (place, server) = Place::serve(move |mut stream| {
        request(&mut stream, 0);
        // A client that has seen enough may be gone.
        let _ = stream.write_all(&answer);
    });
    let result = ask(&place.path, &PLAIN, limits);
    server.join().unwrap();
    result
}

fn told(trouble: &Trouble) -> String {
    trouble.to_string()
}

#[test]
fn a_question_is_http_with_an_encoded_query() {
    let (place, server) = Place::serve(|mut stream| {
        let asked = request(&mut stream, 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            .unwrap();
        asked
    });
    let question = Question {
        path: "/members",
        query: &[
            ("ring", "/run/askr/ring"),
            ("channel", "presence-é&x=1 \r\n"),
        ],
        body: None,
    };
    assert_eq!(ask(&place.path, &question, &LONG).unwrap(), b"{}");
    assert_eq!(
        server.join().unwrap(),
        "GET /members?ring=%2Frun%2Faskr%2Fring&channel=presence%2D%C3%A9%26x%3D1%20%0D%0A HTTP/1.1\r\n\
         Host: localhost\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn a_question_with_a_body_is_a_post() {
    let (place, server) = Place::serve(|mut stream| {
        let asked = request(&mut stream, 12);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ended\":2}")
            .unwrap();
        asked
    });
    let question = Question {
        path: "/disconnect",
        query: &[("ring", "/askr")],
        body: Some(br#"{"user":"7"}"#),
    };
    assert_eq!(
        ask(&place.path, &question, &LONG).unwrap(),
        br#"{"ended":2}"#
    );
    let asked = server.join().unwrap();
    assert!(asked.starts_with("POST /disconnect?ring=%2Faskr HTTP/1.1\r\n"));
    assert!(
        asked.ends_with(
            "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"user\":\"7\"}"
        )
    );
}

#[test]
fn an_answer_may_come_in_pieces_and_without_a_length() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.0 200 OK\r\n\r\nabcd",
    ] {
        let (place, server) = Place::serve(move |mut stream| {
            request(&mut stream, 0);
            for byte in answer.bytes() {
                stream.write_all(&[byte]).unwrap();
            }
        });
        assert_eq!(ask(&place.path, &PLAIN, &LONG).unwrap(), b"abcd");
        server.join().unwrap();
    }
    // What follows the announced length is nobody's.
    let more = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n";
    assert_eq!(answered(more, &LONG).unwrap(), b"{}");
    let none = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(none, &LONG).unwrap(), b"");
}

#[test]
fn a_length_ends_the_answer_of_a_server_that_stays() {
    let (place, server) = Place::serve(|mut stream| {
        request(&mut stream, 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            .unwrap();
        // The asker closes first.
        stream.read(&mut [0; 1]).unwrap_or(0)
    });
    assert_eq!(ask(&place.path, &PLAIN, &LONG).unwrap(), b"{}");
    assert_eq!(server.join().unwrap(), 0);
}

#[test]
fn nobody_there_is_told_with_what_to_look_at() {
    let place = Place::new();
    let missing = ask(&place.path, &PLAIN, &LONG).unwrap_err();
    assert!(matches!(missing, Trouble::Away(_)), "{missing:?}");
    assert_eq!(
        told(&missing),
        "cannot be asked: No such file or directory (os error 2); is askrd running with this control socket?"
    );
    drop(UnixListener::bind(&place.path).unwrap());
    let left = ask(&place.path, &PLAIN, &LONG).unwrap_err();
    assert!(told(&left).contains("Connection refused"), "{left}");
    let long = "/x".repeat(100);
    let unusable = ask(Path::new(&long), &PLAIN, &LONG).unwrap_err();
    assert!(matches!(unusable, Trouble::Away(_)), "{unusable:?}");
}

#[test]
fn a_server_that_never_accepts_is_given_up() {
    let place = Place::new();
    let _listener = UnixListener::bind(&place.path).unwrap();
    assert!(matches!(
        ask(&place.path, &PLAIN, &SHORT),
        Err(Trouble::Late)
    ));
}

#[test]
fn a_full_backlog_is_given_up() {
    let place = Place::new();
    let listener =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let address = socket2::SockAddr::unix(&place.path).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    // A backlog of zero has room for one.
    let _waiting = UnixStream::connect(&place.path).unwrap();
    assert!(matches!(
        ask(&place.path, &PLAIN, &SHORT),
        Err(Trouble::Late)
    ));
}

#[test]
fn a_server_that_does_not_read_is_given_up() {
    let place = Place::new();
    let _listener = UnixListener::bind(&place.path).unwrap();
    let body = vec![b'x'; 16 << 20];
    let question = Question {
        body: Some(&body),
        ..PLAIN
    };
    assert!(matches!(
        ask(&place.path, &question, &SHORT),
        Err(Trouble::Late)
    ));
}

/// It may be waiting for other hosts.
#[test]
fn an_answer_may_take_all_of_the_time() {
    let (place, server) = Place::serve(|mut stream| {
        request(&mut stream, 0);
        thread::sleep(Duration::from_millis(50));
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(answer).is_ok()
    });
    let limits = Limits {
        each: Duration::from_millis(1),
        ..LONG
    };
    assert_eq!(ask(&place.path, &PLAIN, &limits).unwrap(), b"{}");
    assert!(server.join().unwrap());
}

#[test]
fn an_answer_that_trickles_does_not_stretch_the_limit() {
    let (place, server) = Place::serve(|mut stream| {
        request(&mut stream, 0);
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        // Never complete; each byte well within the limit of a single read. Ends when the asker is gone.
        head.extend(std::iter::repeat_n(b'x', 8000));
        for byte in head {
            if stream.write_all(&[byte]).is_err() {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    });
    let limits = Limits {
        each: Duration::from_secs(60),
        ..SHORT
    };
    assert!(matches!(
        ask(&place.path, &PLAIN, &limits),
        Err(Trouble::Late)
    ));
    assert!(server.join().unwrap(), "the asker waited for all of it");
}

#[test]
fn a_server_that_closes_at_once_is_told() {
    let (place, server) = Place::serve(drop);
    let trouble = ask(&place.path, &PLAIN, &LONG).unwrap_err();
    server.join().unwrap();
    assert!(
        matches!(trouble, Trouble::Cut(_) | Trouble::Strange(_)),
        "{trouble:?}"
    );
    let (place, server) = Place::serve(|mut stream| drop(request(&mut stream, 0)));
    let trouble = ask(&place.path, &PLAIN, &LONG).unwrap_err();
    server.join().unwrap();
    assert!(
        told(&trouble).contains("it ended before its head did"),
        "{trouble}"
    );
}

/// Whether this thread was sent a SIGPIPE, which it has to block, while `work` ran. Rust's own start
/// ignores that signal; PHP's command line does not.
fn raises_sigpipe(work: impl FnOnce()) -> bool {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGPIPE);
    mask.thread_block().unwrap();
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK).unwrap();
    work();
    signals.read_signal().unwrap().is_some()
}

#[test]
fn a_server_that_is_gone_raises_no_signal() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(raises_sigpipe(|| {
        writer.write_all(b"x").unwrap_err();
    }));
    let (place, server) = Place::serve(drop);
    let body = vec![b'x'; 16 << 20];
    let question = Question {
        body: Some(&body),
        ..PLAIN
    };
    assert!(!raises_sigpipe(|| {
        let trouble = ask(&place.path, &question, &LONG).unwrap_err();
        assert!(matches!(trouble, Trouble::Cut(_)), "{trouble:?}");
    }));
    server.join().unwrap();
}

#[test]
fn garbage_is_refused() {
    for (answer, why) in [
        (&b"\x16\x03\x01\x02\x00"[..], "it is not HTTP"),
        (b"220 mail.example ESMTP\r\n", "it is not HTTP"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "it is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "it is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "it ended before its head did"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "its length is no number",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
            "its length is no number",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "its length is no number",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "its length is no number",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "it has a transfer encoding",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd",
            "it was cut short",
        ),
    ] {
        let trouble = answered(answer, &LONG).unwrap_err();
        assert!(
            matches!(trouble, Trouble::Strange(_)) && told(&trouble).contains(why),
            "{:?}: {trouble}",
            String::from_utf8_lossy(answer)
        );
    }
}

#[test]
fn head_and_body_are_bounded() {
    let mut endless = b"HTTP/1.1 200 OK\r\n".to_vec();
    for n in 0..60 {
        endless.extend(format!("x-{n}: {}\r\n", "y".repeat(1000)).bytes());
    }
    let trouble = answered(&endless, &LONG).unwrap_err();
    assert!(
        told(&trouble).contains("its head does not end"),
        "{trouble}"
    );
    let mut many = b"HTTP/1.1 200 OK\r\n".to_vec();
    many.extend(b"x: y\r\n".repeat(100));
    many.extend(b"\r\n");
    assert!(matches!(answered(&many, &LONG), Err(Trouble::Strange(_))));

    let announced = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n";
    assert!(matches!(
        answered(announced, &LONG),
        Err(Trouble::TooLarge(1000))
    ));
    let mut unannounced = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    unannounced.resize(unannounced.len() + 1000, b'x');
    assert_eq!(answered(&unannounced, &LONG).unwrap().len(), 1000);
    unannounced.push(b'x');
    assert!(matches!(
        answered(&unannounced, &LONG),
        Err(Trouble::TooLarge(1000))
    ));
    assert_eq!(LIMITS.answer, 16 << 20);
}

#[test]
fn a_refusal_is_told_with_its_reason_and_status() {
    for (answer, expected) in [
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 40\r\n\r\nthis user may not ask about this ring\r\nx",
            "refuses: this user may not ask about this ring (status 403)".to_owned(),
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\n",
            "refuses: it does not say why (status 503)".to_owned(),
        ),
        // 204 is no answer to any of our questions.
        (
            "HTTP/1.1 204 No Content\r\n\r\n",
            "refuses: it does not say why (status 204)".to_owned(),
        ),
    ] {
        let trouble = answered(answer.as_bytes(), &LONG).unwrap_err();
        assert!(matches!(trouble, Trouble::Refused { .. }), "{trouble:?}");
        assert_eq!(told(&trouble), expected);
    }
    let long = format!("HTTP/1.1 400 Bad Request\r\n\r\n{}", "é".repeat(400));
    let trouble = answered(long.as_bytes(), &LONG).unwrap_err();
    assert_eq!(
        told(&trouble),
        format!("refuses: {} (status 400)", "é".repeat(300))
    );
}

//! The head of a connection's first request, read without hyper. Pure: bytes in, a request out, or nothing where hyper is
//! to read it.
//!
//! It takes less than hyper does, and nothing that hyper would refuse: GET of HTTP/1.1 with a path as its target, without a
//! body, whole, and nothing behind it. Both read with `httparse` and the types of `http`; what a request asks for, and whether
//! it gets that, is decided in one place for both (`request.rs`).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Uri};
use httparse::Status;

/// The most headers of a request.
pub const MAX_HEADERS: usize = 256;

/// The request that is all of `input`, a head of `most` bytes at the most. None: hyper is to read it. `headers`: an empty
/// map whose room is used again.
pub fn request(input: &Bytes, most: usize, mut headers: HeaderMap) -> Option<Request<()>> {
    if !input.starts_with(b"GET /") || input.len() > most {
        return None;
    }
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut []);
    let parsed = head.parse_with_uninit_headers(input, &mut lines);
    if parsed != Ok(Status::Complete(input.len())) || head.version != Some(1) {
        return None;
    }
    // Values are slices of the input: nothing is copied.
    headers.reserve(head.headers.len());
    for line in &*head.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        if [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].contains(&name) {
            return None;
        }
        let value = HeaderValue::from_maybe_shared(input.slice_ref(line.value)).ok()?;
        headers.append(name, value);
    }
    let mut request = Request::new(());
    let target = input.slice_ref(head.path?.as_bytes());
    *request.uri_mut() = Uri::from_maybe_shared(target).ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Option<Request<()>> {
        of(head, 8192)
    }

    fn of(head: &str, most: usize) -> Option<Request<()>> {
        let input = Bytes::copy_from_slice(head.as_bytes());
        request(&input, most, HeaderMap::new())
    }

    #[test]
    fn a_whole_head_is_read_as_it_is() {
        let head = "GET /askr/events?channel=a%20b HTTP/1.1\r\nHost: x\r\nX-Real-IP:  192.0.2.1 \r\nhost: y\r\nEmpty:\r\n\r\n";
        let request = read(head).unwrap();
        assert_eq!(request.method(), "GET");
        assert_eq!(request.version(), http::Version::HTTP_11);
        assert_eq!(request.uri(), "/askr/events?channel=a%20b");
        let hosts: Vec<_> = request.headers().get_all("host").iter().collect();
        assert_eq!(hosts, ["x", "y"]);
        assert_eq!(request.headers()["x-real-ip"], "192.0.2.1");
        assert_eq!(request.headers()["empty"], "");
    }

    #[test]
    fn everything_else_is_left_to_hyper() {
        let good = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
        assert!(read(good).is_some());
        assert!(of(good, good.len()).is_some());
        assert!(of(good, good.len() - 1).is_none(), "too long");
        for length in 0..good.len() {
            assert!(read(&good[..length]).is_none(), "{length}");
        }
        let many = "X: y\r\n".repeat(MAX_HEADERS);
        for other in [
            "POST /a HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a HTTP/1.0\r\nHost: x\r\n\r\n",
            "GET http://x/a HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost x\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
            "GET /a\u{7f} HTTP/1.1\r\nHost: x\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            &format!("GET /a HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
        ] {
            assert!(read(other).is_none(), "{other}");
        }
    }
}

//! Reads the body of a request within bounds of size and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};

use super::refusal::{Refusal, bad};
use super::socket::Progress;

/// What is kept of a body while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    All,
    /// The body is read only because its sender does not read an answer before it has sent everything.
    Nothing,
}

/// The whole body, at most `max` bytes within `timeout`. A body that is longer is not read to its end: the
/// connection ends with the answer (`lingering.rs`). What is kept counts as a request in progress.
///
/// # Errors
/// 413 if it is too long, 408 if it is too slow, 400 if it is interrupted, 503 if there is no memory for it.
pub async fn read(
    mut body: Incoming,
    max: usize,
    keep: Keep,
    timeout: Duration,
    progress: &Progress,
) -> Result<Bytes, Refusal> {
    let too_long = || {
        let reason = format!("the body is longer than {max} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    let whole = async {
        let (mut kept, mut length) = (Chunks::default(), 0);
        // Content-Length, if there is one.
        if body.size_hint().lower() > max as u64 {
            return Err(too_long());
        }
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(bad("the body was interrupted"));
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            length += data.len();
            if length > max {
                return Err(too_long());
            }
            if keep == Keep::All {
                kept.put(&data);
                drop(data);
                progress.keep(kept.held()).map_err(|_| Refusal::crowded())?;
            }
        }
        progress.body_ended();
        Ok(kept.0.concat().into())
    };
    tokio::time::timeout(timeout, whole)
        .await
        .unwrap_or_else(|_| {
            let reason = "the body did not arrive in time";
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, reason))
        })
}

/// What was received of a body, in chunks of one size: a buffer that grows and moves would leave holes in memory
/// that nothing fits into.
#[derive(Default)]
struct Chunks(Vec<Vec<u8>>);

impl Chunks {
    const SIZE: usize = 8 << 10;

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.0.last().is_none_or(|last| last.len() == Self::SIZE) {
                self.0.push(Vec::with_capacity(Self::SIZE));
            }
            // It was pushed just now, if it was missing.
            let Some(last) = self.0.last_mut() else {
                return;
            };
            let (fits, rest) = bytes.split_at(bytes.len().min(Self::SIZE - last.len()));
            last.extend_from_slice(fits);
            bytes = rest;
        }
    }

    fn held(&self) -> usize {
        self.0.len() * Self::SIZE
    }
}

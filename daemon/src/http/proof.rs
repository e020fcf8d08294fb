//! Which stream a request is about that comes beside it: its socket id, and the secret that came with the id.

use hyper::StatusCode;
use protocol::socket_id::{Held, Prover, SocketId};

use super::refusal::Refusal;

/// The socket, and where its stream is held.
///
/// # Errors
/// 403, if the secret is not this socket's.
pub fn check(prover: &Prover, socket: &str, secret: &str) -> Result<(SocketId, Held), Refusal> {
    let socket: Option<SocketId> = socket.parse().ok();
    let found = socket.and_then(|socket| Some((socket, prover.place(socket, secret)?)));
    found.ok_or_else(|| {
        let reason = "the secret is not this socket's";
        Refusal::new(StatusCode::FORBIDDEN, reason)
    })
}

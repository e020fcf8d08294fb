//! The server's side of one WebSocket: its decoder, and the session of its protocol.

use protocol::format::Format;
use protocol::rate_limit::Rate;
use protocol::ws::decoder::Decoder;
use protocol::{plain, pusher};

use crate::auth::authorizer::Claim;
use crate::engine::lingering::AwaitedClose;

#[derive(Debug)]
pub struct WebSocketSession {
    pub decoder: Decoder,
    pub session: Session,
    /// When it was opened, and when anything was last received, in the engine's milliseconds.
    pub opened: u64,
    pub received: u64,
    /// Ping and pong frames.
    pub pings: Rate,
    /// It waits among those with more to read.
    pub queued: bool,
    /// What its request showed, and what opens later channels.
    pub claim: Option<Box<Claim>>,
}

#[derive(Debug)]
pub enum Session {
    Plain(plain::Session),
    Pusher(pusher::session::Session),
}

impl WebSocketSession {
    /// None: the format is not a WebSocket's. `claim`: for later channels.
    pub fn new(format: Format, claim: Option<Claim>) -> Option<Box<Self>> {
        let session = match format {
            Format::Raw | Format::Json | Format::Mercure => return None,
            Format::Plain => Session::Plain(plain::Session::default()),
            Format::Pusher | Format::Recovery => {
                Session::Pusher(pusher::session::Session::default())
            }
        };
        Some(Box::new(Self {
            decoder: Decoder::default(),
            session,
            opened: 0,
            received: 0,
            pings: Rate::default(),
            queued: false,
            claim: claim.map(Box::new),
        }))
    }

    /// The rest of the closing handshake, after the last frame was sent.
    pub fn await_close(self, most: usize) -> Option<AwaitedClose> {
        AwaitedClose::new(self.decoder, most)
    }

    /// The same, opened at `now`.
    pub fn opened_at(mut self: Box<Self>, now: u64) -> Box<Self> {
        self.opened = now;
        self.received = now;
        self
    }
}

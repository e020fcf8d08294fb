//! The input of a WebSocket: messages for its session; pings and closes, which no session sees.
//!
//! `ControlFlow::Break` means that the stream is closed, or being closed: nothing more of its input is read.

use std::ops::ControlFlow;

use nix::errno::Errno;
use nix::unistd::read;
use protocol::close_reason::CloseReason;
use protocol::pusher;
use protocol::rate_limit::{Bound, Rate};
use protocol::ws::decoder::Message;
use protocol::ws::{code, frame};

use crate::auth::authorizer::Claim;
use crate::engine::stream::close_reason;
use crate::engine::streams::Engine;
use crate::engine::websocket::session::{Session, WebSocketSession};
use crate::engine::websocket::view::View;

/// How often one WebSocket is read before others have their turn.
const READS: usize = 4;
/// Ping and pong frames of a client.
const PINGS: Bound = Bound {
    per_second: 100,
    burst: 1000,
};

impl Engine {
    /// Its turn has come among those with more to read.
    pub(in crate::engine) fn resume_input(&mut self, slot: u32) {
        if let Some(stream) = self.streams.get_mut(slot as usize)
            && let Some(websocket) = &mut stream.websocket
        {
            websocket.queued = false;
            self.read_input(slot);
        }
    }

    /// Reads what a WebSocket's client has sent, a bounded amount at a time.
    pub(in crate::engine) fn read_input(&mut self, slot: u32) {
        let websocket = self
            .streams
            .get_mut(slot as usize)
            .and_then(|stream| stream.websocket.take());
        let Some(mut websocket) = websocket else {
            return;
        };
        let mut input = std::mem::take(&mut self.input.buffer);
        let more = self.read_messages(slot, &mut websocket, &mut input);
        self.input.buffer = input;
        if let Some(stream) = self.streams.get_mut(slot as usize) {
            let queues = more && !websocket.queued;
            websocket.queued |= more;
            stream.websocket = Some(websocket);
            if queues {
                self.input.queue.push_back(slot);
            }
        } else if let Some(mut ending) = self.input.parting.take() {
            ending.awaited_close = websocket.await_close(self.rules.message_bytes);
            self.lingering.borrow_mut().end(ending);
        }
    }

    /// Reads what there is, up to a limit. True: there may be more.
    fn read_messages(
        &mut self,
        slot: u32,
        websocket: &mut WebSocketSession,
        input: &mut [u8],
    ) -> bool {
        for _ in 0..READS {
            let Some(stream) = self.streams.get(slot as usize) else {
                return false;
            };
            match read(&stream.fd, input) {
                Ok(0) => {
                    self.close(slot, CloseReason::Peer);
                    return false;
                }
                Ok(count) => {
                    websocket.received = self.clock.millis();
                    if self.decode(slot, websocket, &mut input[..count]).is_break() {
                        return false;
                    }
                }
                Err(Errno::EAGAIN) => return false,
                Err(Errno::EINTR) => {}
                Err(error) => {
                    self.close(slot, close_reason(error));
                    return false;
                }
            }
        }
        true
    }

    fn decode(
        &mut self,
        slot: u32,
        websocket: &mut WebSocketSession,
        mut bytes: &mut [u8],
    ) -> ControlFlow<()> {
        loop {
            let most = self.rules.message_bytes;
            match websocket.decoder.next(&mut bytes, most) {
                Ok(None) => return ControlFlow::Continue(()),
                Ok(Some(message)) => {
                    // The message borrows the input alone, so that the session can be borrowed beside it.
                    let flow = self.on_message(
                        slot,
                        &mut websocket.session,
                        &mut websocket.pings,
                        &websocket.claim,
                        message,
                    );
                    if flow.is_break() {
                        // Its close frame may be in what was received already.
                        while let Ok(Some(_)) = websocket.decoder.next(&mut bytes, most) {}
                        return flow;
                    }
                }
                Err(why) => {
                    self.hub.process.metrics.talk_violation.add(1);
                    return self.send_close(slot, frame::close(why.code, why.reason));
                }
            }
        }
    }

    fn on_message(
        &mut self,
        slot: u32,
        session: &mut Session,
        pings: &mut Rate,
        claim: &Option<Box<Claim>>,
        message: Message<'_>,
    ) -> ControlFlow<()> {
        match message {
            Message::Text(text) => self.on_text_message(slot, session, claim, &text),
            Message::Binary(_) => self.send_close(
                slot,
                frame::close(code::UNSUPPORTED, "only text is understood"),
            ),
            Message::Ping(_) | Message::Pong(_) if !pings.take(PINGS, self.clock.millis()) => {
                self.hub.process.metrics.talk_rate.add(1);
                let reason = "there are more pings a second than are allowed";
                self.send_close(slot, frame::close(pusher::code::RATE, reason))
            }
            Message::Ping(payload) => self.reply(slot, frame::pong(&payload)),
            Message::Pong(_) => ControlFlow::Continue(()),
            Message::Close { code, .. } => {
                let answer = match code {
                    Some(code) => frame::close(code, ""),
                    None => frame::close_empty(),
                };
                // A page that is left or loaded anew closes with 1001, and may be back in a moment.
                let end = match code {
                    None | Some(code::NORMAL) => CloseReason::Left,
                    Some(_) => CloseReason::Closed,
                };
                self.close_with(slot, end, answer);
                ControlFlow::Break(())
            }
        }
    }

    fn on_text_message(
        &mut self,
        slot: u32,
        session: &mut Session,
        claim: &Option<Box<Claim>>,
        text: &str,
    ) -> ControlFlow<()> {
        let now = self.clock.millis();
        let view = View {
            engine: self,
            slot,
            claim: claim.as_deref(),
        };
        match session {
            Session::Pusher(session) => {
                let actions = session.on_text(text, now, &view);
                self.apply_pusher(slot, claim, actions)
            }
            Session::Plain(session) => {
                let actions = session.on_text(text, now, &view);
                self.apply_plain(slot, claim, actions)
            }
        }
    }

    /// Pings a WebSocket that is silent, and closes it if it does not answer. `Break`: the stream is closed.
    pub(in crate::engine) fn check_silence(&mut self, slot: u32) -> ControlFlow<()> {
        let now = self.clock.millis();
        let (pusher, plain) = (self.rules.pusher, self.rules.plain);
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return ControlFlow::Break(());
        };
        let Some(websocket) = &mut stream.websocket else {
            return ControlFlow::Continue(());
        };
        let received = websocket.received;
        match &mut websocket.session {
            Session::Pusher(session) => {
                let actions = session.on_tick(now, received, &pusher);
                self.apply_pusher(slot, &None, actions)
            }
            Session::Plain(session) => {
                let actions = session.on_tick(now, received, &plain);
                self.apply_plain(slot, &None, actions)
            }
        }
    }

    /// Sends a frame. `Break`: that found the socket broken, or full beyond its bounds.
    pub(super) fn reply(&mut self, slot: u32, bytes: Vec<u8>) -> ControlFlow<()> {
        self.send_control(slot, bytes);
        self.if_open(slot)
    }

    /// Sends the close frame and closes the stream.
    pub(super) fn send_close(&mut self, slot: u32, last: Vec<u8>) -> ControlFlow<()> {
        self.close_with(slot, CloseReason::Closed, last);
        ControlFlow::Break(())
    }

    /// `Break`: the stream was closed meanwhile.
    pub(super) fn if_open(&self, slot: u32) -> ControlFlow<()> {
        match self.streams.contains(slot as usize) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }
}

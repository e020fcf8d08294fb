//! A client of Pusher's protocol that goes from host to host with a cursor for each channel, as `clients/pusher-recovery`
//! keeps them.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use shared::vector::{OriginId, Vector};

use super::*;
use crate::auth::authorizer::Access;
use crate::engine::WebSocketSession;
use crate::hub::command::{Command, Since};

/// A connection, and what came on all of the client's connections until now.
pub struct Recovering {
    socket: UnixStream,
    /// Not a whole frame yet.
    bytes: Vec<u8>,
    id: SocketId,
    channels: Vec<&'static str>,
    /// Not subscribed to yet on this connection, and confirmed on it.
    due: Vec<&'static str>,
    live: HashSet<String>,
    /// What it had of each host at first.
    first: Vector,
    cursors: BTreeMap<String, Vector>,
    got: Vec<(OriginId, u64, String)>,
    gaps: BTreeMap<String, u64>,
}

impl Recovering {
    /// Subscribes to all at once, with what comes from now on.
    pub fn new(engine: &mut Engine, hub: &Arc<Hub>, channels: u8, first: Vector) -> Self {
        let (socket, id) = connect(engine, hub);
        let channels = names(channels);
        let mut client = Self {
            socket,
            bytes: Vec::new(),
            id,
            due: channels.clone(),
            channels,
            live: HashSet::new(),
            first,
            cursors: BTreeMap::new(),
            got: Vec::new(),
            gaps: BTreeMap::new(),
        };
        while client.subscribe_next(engine) {}
        client
    }

    /// Has it a cursor of each channel? Where not, a channel would begin anew.
    pub fn may_go(&self) -> bool {
        self.cursors.len() == self.channels.len()
    }

    /// Another connection, to this host.
    pub fn go(&mut self, engine: &mut Engine, hub: &Arc<Hub>) {
        (self.socket, self.id) = connect(engine, hub);
        self.bytes.clear();
        self.due = self.channels.clone();
        self.live.clear();
    }

    /// Subscribes to the next of its channels, from where it is.
    pub fn subscribe_next(&mut self, engine: &mut Engine) -> bool {
        match self.due.pop() {
            Some(name) => self.subscribe(engine, name),
            None => return false,
        }
        true
    }

    /// Subscribes to one that it has already, with its cursor.
    pub fn subscribe_again(&mut self, engine: &mut Engine) {
        if let Some(name) = self.channels.iter().find(|name| self.live.contains(**name)) {
            self.subscribe(engine, name);
        }
    }

    fn subscribe(&self, engine: &mut Engine, name: &str) {
        let of_it =
            |(_, stream): &(usize, &crate::engine::stream::Stream)| stream.socket == self.id;
        let (slot, _) = engine.streams.iter().find(of_it).expect("it is open");
        engine.command(Command::Subscribe {
            slot: slot as u32,
            socket: self.id,
            revocations: engine.app.authority.revocations(),
            channels: vec![(name.to_owned(), Access::default())],
            since: self.cursors.get(name).cloned().map(Since::Vector),
            answer: None,
        });
    }

    pub fn read(&mut self, limit: usize) -> Result<(), String> {
        let mut buffer = vec![0; limit];
        let Ok(n) = self.socket.read(&mut buffer) else {
            return Ok(());
        };
        self.bytes.extend_from_slice(&buffer[..n]);
        while let Some(text) = self.frame() {
            self.message(&serde_json::from_slice(&text).map_err(|why| why.to_string())?)?;
        }
        Ok(())
    }

    /// The next text frame.
    fn frame(&mut self) -> Option<Vec<u8>> {
        let (length, head) = match *self.bytes.get(1)? {
            126 => (
                u16::from_be_bytes(self.bytes.get(2..4)?.try_into().ok()?).into(),
                4,
            ),
            127 => (
                u64::from_be_bytes(self.bytes.get(2..10)?.try_into().ok()?) as usize,
                10,
            ),
            short => (usize::from(short), 2),
        };
        assert_eq!(self.bytes[0], 0x81, "a text");
        let text = self.bytes.get(head..head + length)?.to_vec();
        self.bytes.drain(..head + length);
        Some(text)
    }

    fn message(&mut self, message: &Value) -> Result<(), String> {
        let event = message["event"].as_str().unwrap_or_default();
        let channel = message["channel"].as_str();
        match event {
            "pusher:connection_established" | "pusher:ping" => {}
            "pusher_internal:subscription_succeeded" => {
                _ = self.live.insert(channel.unwrap().to_owned());
            }
            "askr:gap" => {
                let gap: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
                let most = gap["at_most"].as_u64().ok_or("a gap without a bound")?;
                for channel in self.concerned(channel) {
                    *self.gaps.entry(channel).or_default() += most;
                }
            }
            _ => self.event(channel.unwrap(), message["data"].as_str().unwrap())?,
        }
        let Some(id) = message["id"].as_str() else {
            return Ok(());
        };
        let id = Vector::parse(id.as_bytes()).ok_or("a cursor of one host")?;
        for channel in self.concerned(channel) {
            match self.cursors.get(&channel) {
                // It is no step of the client's; but each of two must be before the other.
                Some(last) if last.covers(&id) => {}
                Some(last) if !id.covers(last) => {
                    return Err(format!("{event} of {channel}: {id:?} beside {last:?}"));
                }
                _ => _ = self.cursors.insert(channel, id.clone()),
            }
        }
        Ok(())
    }

    /// What a message of this channel, or of all, is about.
    fn concerned(&self, channel: Option<&str>) -> Vec<String> {
        match channel {
            Some(channel) => vec![channel.to_owned()],
            None => self.live.iter().cloned().collect(),
        }
    }

    fn event(&mut self, channel: &str, data: &str) -> Result<(), String> {
        let (origin, position) = data.split_once('-').unwrap();
        let origin = OriginId([u8::from_str_radix(origin, 16).unwrap(); 5]);
        let event = (origin, position.parse().unwrap(), channel.to_owned());
        let same = |got: &&(OriginId, u64, String)| got.0 == origin && got.2 == channel;
        if self.got.iter().filter(same).any(|got| got.1 >= event.1) {
            return Err(format!("{event:?} after {:?}", self.got));
        }
        self.got.push(event);
        Ok(())
    }

    /// What it lacks of a channel of what was published; `covered`: of what its cursor covers.
    fn lacks(&self, published: &[(Cursor, u8)], name: &str, covered: bool) -> u64 {
        let due = published.iter().filter(|(at, channels)| {
            let origin = OriginId::from(at.epoch);
            let has = |vector: &Vector| vector.get(origin).is_some_and(|has| has >= at.seq);
            let covers = || self.cursors.get(name).is_some_and(has);
            names(*channels).contains(&name)
                && !has(&self.first)
                && (!covered || covers())
                && !self.got.contains(&(origin, at.seq, name.to_owned()))
        });
        due.count() as u64
    }

    /// Each cursor says no more than came, but for the gaps that were reported. At the `end` nothing is due either.
    pub fn check(&self, published: &[(Cursor, u8)], end: bool) -> Result<(), String> {
        for name in &self.channels {
            let lacks = self.lacks(published, name, !end);
            let gaps = self.gaps.get(*name).copied().unwrap_or_default();
            if lacks > gaps {
                return Err(format!(
                    "{name} lacks {lacks}, {gaps} in gaps: {:?}",
                    self.cursors
                ));
            }
        }
        Ok(())
    }

    pub fn was_told_of_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    pub fn got(&self) -> usize {
        self.got.len()
    }
}

fn connect(engine: &mut Engine, hub: &Arc<Hub>) -> (UnixStream, SocketId) {
    let (fd, theirs) = sockets(true);
    let opening = Opening {
        format: Format::Recovery,
        websocket: WebSocketSession::new(Format::Recovery, None),
        ..opening(fd, nobody(hub))
    };
    let socket = opening.socket;
    engine.open(opening);
    (theirs, socket)
}

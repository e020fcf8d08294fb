//! The store in Redis: a stream, hashes, a string, and pub/sub, on three connections, since one that waits for the log's
//! next piece can do nothing else, nor can one that listens.
//!
//! A piece is one entry of the stream, with a field `e` for each of its entries: so it is there as a whole or not at all,
//! who waits is sent all of it at once, and a command and its answer are made and read for a piece, not for each event.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{Cmd, FromRedisValue, Pipeline, Value};
use tokio::sync::Mutex;

use crate::outbound::redis::connection::{Connector, Options};
use crate::outbound::redis::log_length::LogLength;
use crate::outbound::redis::store::{Keys, LogId, Read, Server, Store};
use crate::outbound::redis::trouble::Trouble;

/// The longest that a read waits at the server.
pub const MAX_WAIT: Duration = Duration::from_secs(1);
/// The field of each entry.
const FIELD: &str = "e";

pub struct RedisStore {
    connector: Connector,
    keys: Keys,
    length: RefCell<LogLength>,
    server: Server,
    commands: MultiplexedConnection,
    reader: MultiplexedConnection,
    listener: Mutex<PubSubStream>,
    sink: Mutex<PubSubSink>,
}

impl RedisStore {
    /// Connects. `listen`: the names whose messages are heard; `length`: the entries that the log keeps.
    ///
    /// # Errors
    /// Why not, also if the server is none that can be used.
    pub async fn connect(
        options: Arc<Options>,
        keys: Keys,
        listen: &[String],
        length: u64,
    ) -> Result<Self, Trouble> {
        let connector = Connector::find(options).await?;
        let commands = connector.commands(Duration::ZERO).await?;
        let server = connector.server(&commands).await?;
        let reader = connector.commands(MAX_WAIT).await?;
        let (sink, stream) = connector.listener(listen).await?.split();
        Ok(Self {
            connector,
            keys,
            length: RefCell::new(LogLength::new(length)),
            server,
            commands,
            reader,
            listener: Mutex::new(stream),
            sink: Mutex::new(sink),
        })
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Trouble> {
        let mut connection = self.commands.clone();
        self.connector
            .within(command.query_async(&mut connection))
            .await
    }

    async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Trouble> {
        let mut connection = self.commands.clone();
        self.connector
            .within(commands.query_async(&mut connection))
            .await
    }

    /// What is connected to, for sentences.
    pub fn name(&self) -> &str {
        self.connector.name()
    }

    /// Whether the connection that listens still does.
    ///
    /// # Errors
    /// Why not.
    pub async fn check_listener(&self) -> Result<(), Trouble> {
        let mut sink = self.sink.lock().await;
        self.connector
            .within(sink.ping::<Value>())
            .await
            .map(|_| ())
    }
}

impl Store for RedisStore {
    fn server(&self) -> &Server {
        &self.server
    }

    async fn append(&self, entries: &[Bytes]) -> Result<(), Trouble> {
        let mut command = redis::cmd("XADD");
        command.arg(self.keys.key("log")).arg("MAXLEN").arg("~");
        command.arg(self.length.borrow().pieces()).arg("*");
        for entry in entries {
            command.arg(FIELD).arg(&entry[..]);
        }
        self.ask::<Value>(&command).await.map(drop)
    }

    async fn read(&self, after: LogId, most: usize, wait: Duration) -> Result<Read, Trouble> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(most);
        // 0 would wait for ever.
        let wait = wait.min(MAX_WAIT).as_millis() as u64;
        if wait > 0 {
            command.arg("BLOCK").arg(wait);
        }
        command.arg("STREAMS").arg(self.keys.key("log"));
        command.arg(after.to_string());
        let mut connection = self.reader.clone();
        // The connection has a timeout of its own, which knows of the wait.
        let answer: Result<Value, _> = command.query_async(&mut connection).await;
        let answer = answer.map_err(|why| self.connector.trouble(&why))?;
        let read = pieces(answer).ok_or_else(|| {
            let name = self.connector.name();
            Trouble::new(format!("cluster.url: {name} answered what is no log"))
        })?;
        let mut length = self.length.borrow_mut();
        for (_, entries) in &read {
            length.read(entries.as_ref().map_or(1, Vec::len));
        }
        Ok(read)
    }

    async fn length(&self) -> Result<u64, Trouble> {
        let log = self.keys.key("log");
        let pieces = self.ask(redis::cmd("XLEN").arg(log)).await?;
        Ok(self.length.borrow().entries(pieces))
    }

    async fn mark(&self, proposed: &str) -> Result<Bytes, Trouble> {
        let key = self.keys.key("mark");
        let mut both = Pipeline::new();
        both.cmd("SET").arg(&key).arg(proposed).arg("NX").ignore();
        both.cmd("GET").arg(&key);
        let (mark,): (Option<Vec<u8>>,) = self.ask_all(&both).await?;
        Ok(mark.unwrap_or_default().into())
    }

    async fn lease(&self, key: &str, holder: &[u8], time: Duration) -> Result<Bytes, Trouble> {
        let (key, ms) = (self.keys.key(key), time.as_millis() as u64);
        let mut take = Pipeline::new();
        take.cmd("SET").arg(&key).arg(holder);
        take.arg("NX").arg("PX").arg(ms).ignore();
        take.cmd("GET").arg(&key);
        let (found,): (Option<Vec<u8>>,) = self.ask_all(&take).await?;
        let found: Bytes = found.unwrap_or_default().into();
        if found == holder {
            let mut keep = redis::cmd("PEXPIRE");
            self.ask::<Value>(keep.arg(&key).arg(ms)).await?;
        }
        Ok(found)
    }

    async fn put(&self, hash: &str, field: &[u8], value: &[u8]) -> Result<(), Trouble> {
        let key = self.keys.key(hash);
        let mut command = redis::cmd("HSET");
        self.ask(command.arg(key).arg(field).arg(value)).await
    }

    async fn take(&self, hash: &str, field: &[u8]) -> Result<(), Trouble> {
        self.ask(redis::cmd("HDEL").arg(self.keys.key(hash)).arg(field))
            .await
    }

    async fn all(&self, hash: &str) -> Result<Vec<(Bytes, Bytes)>, Trouble> {
        let key = self.keys.key(hash);
        let all: Vec<(Vec<u8>, Vec<u8>)> = self.ask(redis::cmd("HGETALL").arg(key)).await?;
        let pairs = all.into_iter();
        Ok(pairs
            .map(|(key, value)| (key.into(), value.into()))
            .collect())
    }

    async fn delete(&self, key: &str) -> Result<(), Trouble> {
        self.ask(redis::cmd("DEL").arg(self.keys.key(key))).await
    }

    async fn publish(&self, to: &str, text: &str) -> Result<(), Trouble> {
        let to = self.keys.key(to);
        self.ask(redis::cmd("PUBLISH").arg(to).arg(text)).await
    }

    async fn hear(&self) -> Result<Bytes, Trouble> {
        match self.listener.lock().await.next().await {
            Some(message) => Ok(Bytes::copy_from_slice(message.get_payload_bytes())),
            None => {
                let name = self.connector.name();
                let why = format!("cluster.url: {name} has closed the connection");
                Err(Trouble::new(why))
            }
        }
    }
}

/// The pieces in the only stream that was asked for. None: it is no such answer.
fn pieces(answer: Value) -> Option<Read> {
    let streams = match answer {
        // Nothing came.
        Value::Nil => return Some(Vec::new()),
        Value::Array(streams) => streams,
        _ => return None,
    };
    let Value::Array(stream) = streams.into_iter().next()? else {
        return None;
    };
    let Value::Array(all) = stream.into_iter().nth(1)? else {
        return None;
    };
    all.into_iter().map(piece).collect()
}

fn piece(value: Value) -> Option<(LogId, Option<Vec<Bytes>>)> {
    let Value::Array(parts) = value else {
        return None;
    };
    let mut parts = parts.into_iter();
    let Value::BulkString(id) = parts.next()? else {
        return None;
    };
    let id = LogId::parse(&id)?;
    // One that was deleted meanwhile has none.
    let fields = match parts.next()? {
        Value::Array(fields) if !fields.is_empty() => fields,
        _ => return Some((id, None)),
    };
    let mut entries = Vec::with_capacity(fields.len() / 2);
    let mut fields = fields.into_iter();
    while let (Some(name), value) = (fields.next(), fields.next()) {
        match (name, value) {
            (Value::BulkString(name), Some(Value::BulkString(text)))
                if name == FIELD.as_bytes() =>
            {
                entries.push(text.into());
            }
            _ => return Some((id, None)),
        }
    }
    Some((id, Some(entries)))
}

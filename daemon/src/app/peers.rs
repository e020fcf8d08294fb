//! The other nodes of an application: what is told to them, what they are asked.
//!
//! Best effort: a message arrives once or not at all (the store is away, a queue is full), and each that is known to be
//! lost is counted. What must not be lost is an event, or kept in the store. Who hears it is `cluster::heard`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use shared::vector::OriginId;
use tokio::sync::{Notify, mpsc};

use crate::app::peer_message::{Kind, MAX_MESSAGE, PeerMessage};
use crate::process::metrics::Counter;

/// How long an answer is waited for.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// The most questions of an application that wait for answers.
const QUESTIONS: usize = 4096;
/// The most messages that wait to be sent, and their bytes.
const WAITING: usize = 4096;
const WAITING_BYTES: usize = 8 << 20;
/// What a message has beside its body, at most.
const ENVELOPE: usize = 256;

/// What all applications' messages may take while they wait to be sent, for one of them.
pub const CEILING: u64 = (WAITING_BYTES + WAITING * 256 + QUESTIONS * 256) as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// All others.
    All,
    One(OriginId),
}

/// The other nodes of one application. Any thread.
#[derive(Default)]
pub struct Peers(Option<Arc<Bus>>);

/// What was answered to a question.
#[derive(Debug)]
pub struct Answers<A> {
    pub by_node: Vec<(OriginId, A)>,
    /// Living nodes that did not answer in time, do not know the question, or answered what is no such answer.
    pub missing: usize,
}

impl Peers {
    /// There are no others: `cluster.url` is not set.
    pub fn alone() -> Self {
        Self(None)
    }

    pub fn among_others() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether there may be others, and none can be reached: what is known of them is as it was.
    pub fn are_cut_off(&self) -> bool {
        let away = |bus: &Arc<Bus>| !bus.connected.load(Relaxed);
        self.bus().is_some_and(away)
    }

    /// None: there are no others.
    pub fn bus(&self) -> Option<&Arc<Bus>> {
        self.0.as_ref()
    }

    /// The others that live.
    pub fn nodes(&self) -> Vec<OriginId> {
        self.bus()
            .map_or(Vec::new(), |bus| bus.living.read().clone())
    }

    /// Whether the others can be reached, and it is known who they are.
    pub fn are_reached(&self) -> bool {
        let known = |bus: &Arc<Bus>| bus.connected.load(Relaxed) && bus.living_known.load(Relaxed);
        self.bus().is_some_and(known)
    }

    /// Tells it to others. Never waits.
    pub fn tell(&self, to: To, topic: &str, body: &impl Serialize) {
        let Some(bus) = self.bus() else { return };
        bus.send(to, Kind::Tell, topic, raw(body));
    }

    /// Keeps a field of a hash in the store, for who starts later. Never waits. What finds no room is written when the store
    /// is next connected: all that is kept is known here, too.
    pub fn keep(&self, hash: &'static str, field: Vec<u8>, value: Vec<u8>) {
        let Some(bus) = self.bus() else { return };
        let mut kept = bus.kept.lock();
        if kept.len() < WAITING {
            kept.push_back(Kept { hash, field, value });
        }
        bus.more_kept.notify_one();
    }

    /// Asks others, and waits for their answers up to [`PATIENCE`].
    pub async fn ask<A: DeserializeOwned>(
        &self,
        to: To,
        topic: &str,
        body: &impl Serialize,
    ) -> Answers<A> {
        self.ask_within(PATIENCE, to, topic, body).await
    }

    async fn ask_within<A: DeserializeOwned>(
        &self,
        patience: Duration,
        to: To,
        topic: &str,
        body: &impl Serialize,
    ) -> Answers<A> {
        let mut answers = Answers {
            by_node: Vec::new(),
            missing: 0,
        };
        let Some(bus) = self.bus() else {
            return answers;
        };
        let mut waiting = match to {
            To::All => self.nodes(),
            To::One(node) => vec![node],
        };
        let Some(mut question) = bus.ask(to, topic, raw(body), &waiting) else {
            answers.missing = waiting.len();
            return answers;
        };
        let end = tokio::time::Instant::now() + patience;
        while !waiting.is_empty() {
            let Ok(Some((from, body))) =
                tokio::time::timeout_at(end, question.answers.recv()).await
            else {
                break;
            };
            // One answer each, of those that were asked.
            let Some(at) = waiting.iter().position(|node| *node == from) else {
                continue;
            };
            waiting.swap_remove(at);
            match body.and_then(|body| serde_json::from_str(body.get()).ok()) {
                Some(answer) => answers.by_node.push((from, answer)),
                None => answers.missing += 1,
            }
        }
        answers.missing += waiting.len();
        bus.counts.unanswered.add(waiting.len() as u64);
        answers
    }
}

fn raw(body: &impl Serialize) -> Option<Box<RawValue>> {
    to_raw_value(body).ok()
}

/// What lies between the application's parts and the thread that sends and receives.
#[derive(Default)]
pub struct Bus {
    queue: Mutex<Queue>,
    queued: Notify,
    questions: Mutex<Questions>,
    living: RwLock<Vec<OriginId>>,
    connected: AtomicBool,
    /// What is to be written to the store.
    kept: Mutex<VecDeque<Kept>>,
    more_kept: Notify,
    /// Since it is connected, it was read who lives.
    living_known: AtomicBool,
    pub counts: Counts,
}

#[derive(Debug, Default)]
pub struct Counts {
    pub sent: Counter,
    pub heard: Counter,
    /// Messages that were not sent: the store is away, too many wait, or it is too long.
    pub lost: Counter,
    /// Answers that were awaited in vain.
    pub unanswered: Counter,
    /// Messages that are none, or of a topic that this askrd does not know.
    pub not_understood: Counter,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    bytes: usize,
}

/// A field of a hash in the store.
#[derive(Debug)]
pub struct Kept {
    pub hash: &'static str,
    pub field: Vec<u8>,
    pub value: Vec<u8>,
}

/// A message that waits to be sent.
pub struct Outgoing {
    pub to: To,
    kind: Kind,
    topic: String,
    body: Option<Box<RawValue>>,
}

impl Outgoing {
    pub fn encode(self, from: OriginId) -> String {
        PeerMessage {
            from,
            kind: self.kind,
            topic: self.topic,
            body: self.body,
        }
        .encode()
    }

    fn bytes(&self) -> usize {
        self.topic.len() + self.body.as_ref().map_or(0, |body| body.get().len())
    }
}

#[derive(Default)]
struct Questions {
    last: u64,
    open: HashMap<u64, mpsc::Sender<Answer>>,
}

/// Whose it is, and its body. None: it does not know.
type Answer = (OriginId, Option<Box<RawValue>>);

/// A question that waits for answers. Dropped, it waits no more.
struct Question<'a> {
    bus: &'a Bus,
    number: u64,
    answers: mpsc::Receiver<Answer>,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.bus.questions.lock().open.remove(&self.number);
    }
}

impl Bus {
    /// The next message to send.
    pub async fn next(&self) -> Outgoing {
        loop {
            if let Some(message) = self.take() {
                return message;
            }
            self.queued.notified().await;
        }
    }

    /// The next field to write to the store.
    pub async fn next_kept(&self) -> Kept {
        loop {
            let first = self.kept.lock().pop_front();
            match first {
                Some(kept) => return kept,
                None => self.more_kept.notified().await,
            }
        }
    }

    /// The next message to send, if there is one.
    pub fn take(&self) -> Option<Outgoing> {
        let mut queue = self.queue.lock();
        let message = queue.messages.pop_front()?;
        queue.bytes -= message.bytes();
        Some(message)
    }

    /// Whether messages can be sent now. When they cannot, those that wait are lost.
    pub fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Relaxed);
        self.living_known.store(false, Relaxed);
        if !connected {
            while self.take().is_some() {
                self.counts.lost.add(1);
            }
        }
    }

    /// The other nodes that live.
    pub fn set_living(&self, nodes: Vec<OriginId>) {
        *self.living.write() = nodes;
        self.living_known.store(true, Relaxed);
    }

    /// Someone answered.
    pub fn answered(&self, question: u64, from: OriginId, body: Option<Box<RawValue>>) {
        if let Some(asker) = self.questions.lock().open.get(&question) {
            // Full: more answers than nodes that were asked.
            let _ = asker.try_send((from, body));
        }
    }

    /// Answers a question.
    pub fn answer(&self, to: OriginId, question: u64, topic: &str, body: Option<Box<RawValue>>) {
        self.send(To::One(to), Kind::Answer(question), topic, body);
    }

    /// None: it could not be sent.
    fn ask(
        &self,
        to: To,
        topic: &str,
        body: Option<Box<RawValue>>,
        nodes: &[OriginId],
    ) -> Option<Question<'_>> {
        if nodes.is_empty() {
            return None;
        }
        let (sender, answers) = mpsc::channel(nodes.len());
        let number = {
            let mut questions = self.questions.lock();
            if questions.open.len() >= QUESTIONS {
                self.counts.lost.add(1);
                return None;
            }
            questions.last += 1;
            let number = questions.last;
            questions.open.insert(number, sender);
            number
        };
        let question = Question {
            bus: self,
            number,
            answers,
        };
        self.send(to, Kind::Ask(number), topic, body)
            .then_some(question)
    }

    /// False: it is lost.
    fn send(&self, to: To, kind: Kind, topic: &str, body: Option<Box<RawValue>>) -> bool {
        let message = Outgoing {
            to,
            kind,
            topic: topic.to_owned(),
            body,
        };
        let bytes = message.bytes();
        let kept = self.connected.load(Relaxed) && bytes <= MAX_MESSAGE - ENVELOPE && {
            let mut queue = self.queue.lock();
            let room = queue.messages.len() < WAITING && queue.bytes + bytes <= WAITING_BYTES;
            if room {
                queue.bytes += bytes;
                queue.messages.push_back(message);
            }
            room
        };
        match kept {
            true => self.queued.notify_one(),
            false => self.counts.lost.add(1),
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const A: OriginId = OriginId([0xa; 5]);
    const B: OriginId = OriginId([0xb; 5]);

    fn peers() -> Peers {
        let peers = Peers::among_others();
        let bus = peers.bus().unwrap();
        bus.set_connected(true);
        bus.set_living(vec![A, B]);
        peers
    }

    fn number(message: Outgoing) -> u64 {
        let text = message.encode(A);
        match PeerMessage::parse(text.as_bytes()).unwrap().kind {
            Kind::Ask(number) => number,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_is_alone_asks_nobody() {
        let peers = Peers::alone();
        peers.tell(To::All, "t", &1);
        let answers: Answers<u8> = peers.ask(To::All, "t", &1).await;
        assert!(answers.by_node.is_empty() && answers.missing == 0);
    }

    #[tokio::test]
    async fn answers_are_gathered_and_those_that_are_missing_counted() {
        let peers = peers();
        let bus = peers.bus().unwrap();
        let respond = async {
            let question = number(bus.next().await);
            let five = to_raw_value(&json!(5)).unwrap();
            bus.answered(question, A, Some(five.clone()));
            // A second one, and one of a node that was not asked.
            bus.answered(question, A, Some(five.clone()));
            bus.answered(question, OriginId([0xc; 5]), Some(five));
        };
        let patience = Duration::from_millis(50);
        let asked = peers.ask_within::<u64>(patience, To::All, "t", &());
        let (answers, ()) = tokio::join!(asked, respond);
        assert_eq!((answers.by_node, answers.missing), (vec![(A, 5)], 1));
        assert_eq!(bus.counts.unanswered.get(), 1);
        assert!(bus.questions.lock().open.is_empty());
    }

    #[tokio::test]
    async fn what_is_no_answer_is_missing_and_waits_for_nothing() {
        let peers = peers();
        let bus = peers.bus().unwrap();
        let respond = async {
            let question = number(bus.next().await);
            bus.answered(question, A, None);
            bus.answered(question, B, to_raw_value("text").ok());
        };
        let (answers, ()) = tokio::join!(peers.ask::<u64>(To::All, "t", &()), respond);
        assert_eq!((answers.by_node.len(), answers.missing), (0, 2));
        assert_eq!(bus.counts.unanswered.get(), 0);
    }

    #[tokio::test]
    async fn without_the_store_a_message_is_lost_at_once_and_counted() {
        let peers = peers();
        let bus = peers.bus().unwrap();
        peers.tell(To::All, "t", &1);
        bus.set_connected(false);
        let answers: Answers<u8> = peers.ask(To::One(A), "t", &1).await;
        assert_eq!((answers.missing, bus.counts.lost.get()), (1, 2));
        assert!(bus.take().is_none());
    }

    #[test]
    fn what_waits_to_be_sent_is_bounded() {
        let peers = peers();
        let bus = peers.bus().unwrap();
        let body = "x".repeat(MAX_MESSAGE - 2 * ENVELOPE);
        for _ in 0..20 {
            peers.tell(To::All, "t", &body);
        }
        assert!(bus.queue.lock().bytes <= WAITING_BYTES);
        assert_eq!(bus.counts.lost.get(), 12);
        let long = "x".repeat(MAX_MESSAGE);
        peers.tell(To::All, "t", &long);
        assert_eq!(bus.counts.lost.get(), 13);
        while bus.take().is_some() {}
        for _ in 0..WAITING + 1 {
            peers.tell(To::All, "t", &1);
        }
        assert_eq!(bus.counts.lost.get(), 14);
    }
}

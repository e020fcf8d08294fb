//! One run of the stepper: a publisher under a debugger, another one that goes on, a reader, and the
//! verdict on what arrived.

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Release};

use shared::fetch::Fetch;
use shared::layout::{Geometry, W_ARENA_TAIL};

use crate::common::Words;
use crate::payload::{Sender, Sent, verify};
use crate::stage::{Stage, publisher};
use crate::trace::{Child, Stop, mark};

/// The debugged publisher's number is that of the run, so this one's is out of its way.
const OTHER: u32 = u32::MAX;
const LARGEST: usize = 4000;
/// What the other publisher sends while the first one is stopped: inline and one to three cells.
const SIZES: [usize; 8] = [10, 700, 10, 0, 2500, 30, 1500, 20];
const LAPS: u64 = 3;

/// 16 slots of 128 bytes (88 inline) and an arena of 16 cells: three laps are 48 events.
pub const GEOMETRY: Geometry = Geometry {
    slot_bits: 4,
    slot_log2: 7,
    cell_bits: 4,
    cell_log2: 10,
    writer_bits: 4,
};

/// What happens to the stopped publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Kill,
    /// The reader reads on, and poisons the open claim.
    Read,
    /// Another publisher goes three laps, and only then the reader reads.
    LapsThenRead,
    /// Another publisher goes three laps with the reader at its heels.
    LapsReading,
}

/// The event published under the debugger.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub len: usize,
    /// Whether the publisher attaches before it is stepped.
    pub attached: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub runs: u64,
    pub instructions: u64,
    pub kills: u64,
    pub stops: u64,
    pub events: u64,
    /// Read, but not as sent; or sent, read once, and no longer whole although nobody came round.
    pub damaged: u64,
    pub duplicates: u64,
    /// Acknowledged, and neither read where it was said to be nor told to be gone.
    pub lost: u64,
    /// Pins or writers that stay, a reader that does not get on, a publish that fails.
    pub stuck: u64,
    /// The first few, in words.
    pub notes: Vec<String>,
}

impl Totals {
    pub fn bad(&self) -> u64 {
        self.damaged + self.duplicates + self.lost + self.stuck
    }
}

const DAMAGED: fn(&mut Totals) -> &mut u64 = |t| &mut t.damaged;
const DUPLICATE: fn(&mut Totals) -> &mut u64 = |t| &mut t.duplicates;
const LOST: fn(&mut Totals) -> &mut u64 = |t| &mut t.lost;
const STUCK: fn(&mut Totals) -> &mut u64 = |t| &mut t.stuck;

/// Words shared with the child.
const PHASE: usize = 0;
const STEPPED: usize = 1;
const AFTER: usize = 2;
const DONE: u64 = 1;
/// In STEPPED and AFTER: what publish() said. 0: nothing yet.
const FAILED: u64 = u64::MAX;

struct Acked {
    sent: Sent,
    position: u64,
    /// The first arena cell; None: inline.
    run: Option<u64>,
}

pub struct Scene {
    stage: Stage,
    other: (shared::publisher::Publisher, Sender),
    other_counter: u64,
    share: Words,
    acked: Vec<Acked>,
    read: HashMap<Sent, u64>,
    told: Vec<(u64, u64)>,
    what: String,
    pub totals: Totals,
}

impl Scene {
    pub fn new() -> std::io::Result<Self> {
        let stage = Stage::new(GEOMETRY, LARGEST as u64)?;
        Ok(Self {
            other: (stage.publisher(), Sender::new(KEY, OTHER, LARGEST)),
            stage,
            other_counter: 0,
            share: Words::anonymous(3)?,
            acked: Vec::new(),
            read: HashMap::new(),
            told: Vec::new(),
            what: String::new(),
            totals: Totals::default(),
        })
    }

    /// Publishes `shape` under the debugger and acts at the given instructions, in order. Returns how
    /// many instructions were executed one by one, and whether all of `plan` was reached.
    pub fn run(&mut self, shape: Shape, plan: &[(u64, Act)]) -> nix::Result<(u64, bool)> {
        self.begin(shape, plan);
        let mut child = self.spawn(shape)?;
        self.read_on();
        let (mut steps, mut reached, mut killed) = (0, true, false);
        for (at, act) in plan {
            while steps < *at && self.share[PHASE].load(Acquire) != DONE {
                let stop = child.step()?;
                if stop != Stop::Trap {
                    let note = format!("the publisher ended by itself: {stop:?}");
                    self.wrong(STUCK, note);
                    return Ok((steps, false));
                }
                steps += 1;
            }
            if self.share[PHASE].load(Acquire) == DONE {
                reached = false;
                break;
            }
            killed = *act == Act::Kill;
            self.act(*act, &mut child)?;
        }
        if killed {
            self.read_on();
        } else {
            self.finish(&mut child)?;
        }
        self.aftermath();
        self.totals.instructions += steps;
        Ok((steps, reached))
    }

    fn begin(&mut self, shape: Shape, plan: &[(u64, Act)]) {
        self.totals.runs += 1;
        self.what = format!("run {}, {} {plan:?}", self.totals.runs, shape.name);
        self.acked.clear();
        self.read.clear();
        self.told.clear();
        self.share.iter().for_each(|word| word.store(0, Release));
        self.stage.beat();
    }

    /// A publisher that is about to publish, stopped.
    fn spawn(&mut self, shape: Shape) -> nix::Result<Child> {
        let (name, share) = (&self.stage.name, &self.share);
        let number = self.totals.runs as u32;
        let mut child = Child::spawn(|| {
            let mut publisher = publisher(name);
            let mut sender = Sender::new(KEY, number, LARGEST);
            if shape.attached && sender.publish(&mut publisher, 0, 5).is_err() {
                return 1;
            }
            sender.prepare(1, shape.len);
            mark();
            let said = publisher
                .publish(&sender.event(1, shape.len))
                .map(|at| at.seq);
            share[STEPPED].store(said.unwrap_or(FAILED), Release);
            share[PHASE].store(DONE, Release);
            mark();
            let said = sender.publish(&mut publisher, 2, shape.len);
            share[AFTER].store(said.unwrap_or(FAILED), Release);
            0
        })?;
        if child.wait()? != Stop::Trap {
            self.wrong(STUCK, "the publisher could not start".into());
        }
        child.bind()?;
        Ok(child)
    }

    fn act(&mut self, act: Act, child: &mut Child) -> nix::Result<()> {
        if act == Act::Kill {
            self.totals.kills += 1;
            return child.kill();
        }
        self.totals.stops += 1;
        let told = self.told.len();
        // A stopped writer is alive: however often the reaper looks, nothing is taken from it.
        for _ in 0..2 {
            let swept = self.stage.sweep();
            if !swept.is_ok_and(|swept| swept.reaped == 0) {
                self.wrong(STUCK, "a live publisher was reaped".into());
            }
        }
        match act {
            Act::Kill | Act::Read => {}
            Act::LapsThenRead => self.publish_other(LAPS * GEOMETRY.slots(), false),
            Act::LapsReading => self.publish_other(LAPS * GEOMETRY.slots(), true),
        }
        self.read_on();
        if act != Act::LapsThenRead {
            self.nothing_told_since(told);
        }
        self.stage.beat();
        Ok(())
    }

    /// Lets the publisher finish, and publish once more.
    fn finish(&mut self, child: &mut Child) -> nix::Result<()> {
        let told = self.told.len();
        let stop = child.resume()?;
        if stop != Stop::Trap {
            let phase = self.share[PHASE].load(Acquire);
            let note = format!("the resumed publisher did not get to its end: {stop:?}, {phase}");
            self.wrong(STUCK, note);
            return Ok(());
        }
        self.history();
        self.read_on();
        self.said(STEPPED, 1);
        if child.resume()? != Stop::Exited(0) {
            self.wrong(STUCK, "the publisher did not go on".into());
        }
        self.read_on();
        self.said(AFTER, 2);
        self.nothing_told_since(told);
        Ok(())
    }

    /// Takes down what the child's publish() returned.
    fn said(&mut self, word: usize, counter: u64) {
        let sent = Sent {
            publisher: self.totals.runs as u32,
            counter,
        };
        match self.share[word].load(Acquire) {
            0 | FAILED => self.wrong(STUCK, format!("publish {counter} failed")),
            position => self.acked.push(Acked {
                sent,
                position,
                run: None,
            }),
        }
    }

    /// The ring goes on, the dead are buried, every event is accounted for.
    fn aftermath(&mut self) {
        for _ in 0..2 {
            if self.stage.sweep().is_err() {
                self.wrong(STUCK, "the sweep failed".into());
            }
        }
        let (pins, dirty) = (self.stage.pins(), self.stage.dirty());
        if pins + dirty > 0 {
            self.wrong(STUCK, format!("{pins} pins and {dirty} writers remain"));
        }
        let told = self.told.len();
        self.publish_other(GEOMETRY.slots() + 3, true);
        self.nothing_told_since(told);
        self.history();
        self.account();
    }

    fn publish_other(&mut self, count: u64, reading: bool) {
        for _ in 0..count {
            let counter = self.other_counter;
            self.other_counter += 1;
            let len = SIZES[counter as usize % SIZES.len()];
            let (publisher, sender) = &mut self.other;
            match sender.publish(publisher, counter, len) {
                Ok(position) => {
                    let arena = self.stage.ring().word(W_ARENA_TAIL).load(Acquire);
                    let body = sender.event(counter, len).data.len() + HEAD;
                    let cells = self.stage.ring().cells_for(body);
                    let run = (body > GEOMETRY.inline_len()).then(|| arena - cells);
                    let sent = Sent {
                        publisher: OTHER,
                        counter,
                    };
                    self.acked.push(Acked {
                        sent,
                        position,
                        run,
                    });
                }
                Err(error) => self.wrong(STUCK, format!("another's publish failed: {error}")),
            }
            if reading {
                self.read_on();
            }
        }
    }

    fn read_on(&mut self) {
        let seen = self.stage.drain();
        for note in seen.wrong {
            let stuck = note.starts_with("stuck") || note.starts_with("distrust");
            self.wrong(if stuck { STUCK } else { DAMAGED }, note);
        }
        for (position, event) in seen.events {
            self.totals.events += 1;
            match verify(KEY, &event) {
                Ok(sent) => {
                    if let Some(before) = self.read.insert(sent, position) {
                        let note = format!("{sent:?} at {before} and at {position}");
                        self.wrong(DUPLICATE, note);
                    }
                }
                Err(bad) => self.wrong(DAMAGED, format!("{bad:?} at {position}")),
            }
        }
        self.told.extend(seen.lapped);
    }

    /// Everything the other publisher sent that nobody has come round to yet is still whole.
    fn history(&mut self) {
        let head = self.stage.segment.head();
        let arena = self.stage.ring().word(W_ARENA_TAIL).load(Acquire);
        let mut broken = Vec::new();
        for acked in self
            .acked
            .iter()
            .filter(|acked| acked.sent.publisher == OTHER)
        {
            let kept = acked.position + GEOMETRY.slots() >= head
                && acked.run.is_none_or(|run| run + GEOMETRY.cells() >= arena);
            let found = self.stage.segment.read(acked.position);
            let whole =
                matches!(&found, Fetch::Event(event) if verify(KEY, event) == Ok(acked.sent));
            if kept && !whole {
                broken.push(format!(
                    "{:?} at {} is now {found:?}",
                    acked.sent, acked.position
                ));
            }
        }
        broken
            .into_iter()
            .for_each(|note| self.wrong(DAMAGED, note));
    }

    fn account(&mut self) {
        let mut lost = Vec::new();
        for Acked { sent, position, .. } in &self.acked {
            let told = self
                .told
                .iter()
                .any(|(from, to)| (*from..*to).contains(position));
            match self.read.get(sent) {
                Some(at) if at == position => {}
                Some(at) => lost.push(format!("{sent:?} was read at {at}, not at {position}")),
                None if told => {}
                None => lost.push(format!("{sent:?} at {position} never arrived")),
            }
        }
        lost.into_iter().for_each(|note| self.wrong(LOST, note));
    }

    fn nothing_told_since(&mut self, before: usize) {
        if self.told.len() > before {
            let note = format!(
                "told {:?} although the reader kept up",
                &self.told[before..]
            );
            self.wrong(LOST, note);
        }
    }

    fn wrong(&mut self, count: fn(&mut Totals) -> &mut u64, note: String) {
        *count(&mut self.totals) += 1;
        if self.totals.notes.len() < 10 {
            self.totals.notes.push(format!("{}: {note}", self.what));
        }
    }
}

/// Bytes of every event's head here: channel and id, padded.
const HEAD: usize = (2 + 5 + 2 + 38usize).next_multiple_of(8);
const KEY: u64 = 0x0A5C_0001;

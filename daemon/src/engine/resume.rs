//! Where a stream begins: at the cursor or event id that its client has, as far back as it looks, or with what comes
//! from now on.

use std::collections::HashMap;
use std::rc::Rc;

use protocol::channel::Kind;
use protocol::gap::Gap;
use protocol::rewind::Rewind;
use shared::cursor::{Cursor, Epoch};
use shared::vector::Vector;

use crate::engine::opening::Resume;
use crate::engine::outbox::ReplayPosition;
use crate::engine::replay::cache::ReplayCache;
use crate::engine::replay::catch_up::CatchUp;
use crate::engine::replay::filter::Held;
use crate::engine::replay::state::Replay;
use crate::engine::streams::Engine;
use crate::hub::hub::Hub;

/// Where a stream begins. It is sent no cursor past a gap before that gap was reported.
pub struct Start {
    /// The cursor it may be sent at once.
    pub cursor: Option<Cursor>,
    /// What it has to replay.
    pub replay: Option<Replay>,
    /// Where its channels join in, if not all of them at once.
    pub catch_up: Option<CatchUp>,
    /// Its channels that it gets no event of by its replay, by their numbers, and the position from which it gets
    /// what comes: of these the last event is due, if it is kept.
    pub fresh: Vec<(u32, u64)>,
    /// What it has already of what it replays.
    pub held: Option<Held>,
}

impl Start {
    fn live(cursor: Cursor) -> Self {
        Self {
            cursor: Some(cursor),
            replay: None,
            catch_up: None,
            fresh: Vec::new(),
            held: None,
        }
    }

    fn at(cursor: Cursor, here: u64) -> Self {
        let from = ReplayPosition::start(cursor.seq + 1);
        Self {
            replay: Some(Replay::new(from, here)),
            ..Self::live(cursor)
        }
    }

    /// From `next` to `here`, with something missing from `missing` on, which may be `next` itself.
    fn after_gap(missing: u64, next: u64, gap: Gap, here: u64) -> Self {
        let mut replay = Replay::new(ReplayPosition::start(missing), here);
        replay.miss(gap);
        replay.go_to(next);
        Self {
            cursor: None,
            replay: Some(replay),
            catch_up: None,
            fresh: Vec::new(),
            held: None,
        }
    }
}

impl Engine {
    /// Where a stream begins that opens when the tailer is at `here`.
    pub(super) fn start(
        &mut self,
        resume: Option<&Resume>,
        channels: &[String],
        here: u64,
    ) -> Start {
        let epoch = self.progress.epoch;
        let seq = match resume {
            None => {
                // Of others there is no last event: nothing is noted of them.
                let cached = channels.iter().filter(|name| Kind::of(name).is_cached());
                let fresh = cached.filter_map(|name| self.subscriptions.number(name));
                return Start {
                    fresh: fresh.map(|channel| (channel, here)).collect(),
                    ..Start::live(self.progress.cursor(here - 1))
                };
            }
            Some(Resume::Earliest) => {
                let first = self.hub.store.held_from(0).max(self.hub.index.first());
                Some(first.min(here) - 1)
            }
            Some(Resume::Unknown) => None,
            Some(Resume::Rewind(rewind)) => return self.start_back(*rewind, channels, here),
            Some(Resume::Cursor(held)) => (held.epoch == epoch).then_some(held.seq),
            Some(Resume::Vector(vector)) => match self.begin_at(vector, here) {
                Some(begun) => return self.start_from(begun, here),
                None => None,
            },
            Some(Resume::Id(id)) => {
                match find_id(&self.hub, &mut self.replays.cache, epoch, channels, id) {
                    // The client has one of them, and it is unknown which.
                    Some((oldest, newest)) if oldest < newest => {
                        let gap = Gap::at_most(newest - oldest);
                        return Start::after_gap(oldest + 1, newest + 1, gap, here);
                    }
                    // What it had of other hosts before that is unknown.
                    Some((_, newest)) if self.hub.origins.is_some() => {
                        return Start::after_gap(newest + 1, newest + 1, Gap::UNKNOWN, here);
                    }
                    found => found.map(|(_, newest)| newest),
                }
            }
        };
        match seq {
            Some(seq) if seq + 1 == here => Start::live(self.progress.cursor(seq)),
            Some(seq) if seq < here => Start::at(self.progress.cursor(seq), here),
            // Ahead of the tailer, and not of the publishers: a page has it of `askr_cursor()`. What comes up to there
            // is not for it.
            Some(seq) if seq < self.hub.segments.head() => {
                Start::at(self.progress.cursor(seq), seq + 1)
            }
            // A position that was not published yet: the client's cursor is of another past of this ring.
            Some(_) => {
                self.hub.process.metrics.unknown_cursors.add(1);
                Start::after_gap(here, here, Gap::UNKNOWN, here)
            }
            None => {
                self.hub.process.metrics.unknown_cursors.add(1);
                let first = self.hub.index.first();
                Start::after_gap(first, first, Gap::UNKNOWN, here)
            }
        }
    }
}

/// Where a stream or a channel begins that comes with a vector.
pub(super) struct Begun {
    pub from: u64,
    pub gap: Gap,
    /// None: it is as any other from there on.
    pub held: Option<Held>,
}

impl Engine {
    /// The place of a vector when the tailer is at `here`. None: the application is on one host, and no vector of
    /// another one means anything.
    pub(super) fn begin_at(&self, vector: &Vector, here: u64) -> Option<Begun> {
        let origins = self.hub.origins.as_ref()?;
        let head = self.hub.segments.head().max(here);
        let begin = origins.begin(vector, here, head);
        if begin.gap.bound().is_none() {
            self.hub.process.metrics.unknown_cursors.add(1);
        }
        Some(Begun {
            from: begin.from,
            gap: begin.gap,
            held: begin.filter.map(|until| Held {
                vector: Rc::new(begin.vector),
                until,
            }),
        })
    }

    fn start_from(&self, begun: Begun, here: u64) -> Start {
        let Begun { from, gap, held } = begun;
        let start = match gap.is_none() {
            true if from == here && held.is_none() => Start::live(self.progress.cursor(here - 1)),
            true => Start::at(self.progress.cursor(from - 1), here),
            false => Start::after_gap(from, from, gap, here),
        };
        Start { held, ..start }
    }

    /// Where a stream begins that looks back: each channel at its own position.
    fn start_back(&self, rewind: Rewind, channels: &[String], here: u64) -> Start {
        let Looked {
            since, fresh, gap, ..
        } = self.look_back(rewind, channels, here);
        let from = since.values().copied().min().unwrap_or(here);
        let start = match gap.is_none() {
            true if from == here => Start::live(self.progress.cursor(here - 1)),
            true => Start::at(self.progress.cursor(from - 1), here),
            false => Start::after_gap(from, from, gap, here),
        };
        let apart = since.values().any(|at| *at > from);
        Start {
            catch_up: apart.then_some(CatchUp {
                base: from,
                since,
                ..CatchUp::default()
            }),
            fresh,
            ..start
        }
    }

    /// Where each of these channels begins.
    pub(super) fn look_back(&self, rewind: Rewind, channels: &[String], here: u64) -> Looked {
        let mut looked = Looked::default();
        for name in channels {
            let Some(channel) = self.subscriptions.number(name) else {
                continue;
            };
            let tail = self.rewind(name, rewind, here);
            looked.since.insert(channel, tail.from);
            looked.gap.add(tail.gap);
            if tail.known == 0 {
                looked.fresh.push((channel, tail.from));
            }
        }
        looked
    }
}

/// Channels that look back.
#[derive(Debug, Default)]
pub struct Looked {
    /// Where each begins, by its number.
    pub since: HashMap<u32, u64>,
    /// As in [`Start`].
    pub fresh: Vec<(u32, u64)>,
    /// What was asked for and is left out.
    pub gap: Gap,
    /// What the page has of them already of what is replayed.
    pub held: Option<Held>,
}

/// The positions of the oldest and of the newest event with this custom id on these channels.
fn find_id(
    hub: &Hub,
    cache: &mut ReplayCache,
    epoch: Epoch,
    channels: &[String],
    id: &str,
) -> Option<(u64, u64)> {
    let names: Vec<&str> = channels.iter().map(String::as_str).collect();
    let found = hub.index.find_id(&names, id);
    // The index has only the id's hash.
    let mut is = |seq: u64| {
        let encoded = cache.fetch(hub, epoch, seq)?;
        Some(encoded.event.id() == Some(id))
    };
    let newest = found.seqs.iter().position(|seq| is(*seq) == Some(true))?;
    let older = found.seqs[newest..].iter().rev();
    // One that was overwritten may have had it.
    let oldest = older.copied().find(|seq| is(*seq) != Some(false));
    let oldest = match found.more {
        true => hub.index.first(),
        false => oldest?,
    };
    Some((oldest, found.seqs[newest]))
}

//! The end of a torture: everybody may finish, every book is settled, the verdict is printed.

use std::fmt::Write;
use std::io;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Driver, PATIENCE};
use crate::book::Board;
use crate::roles::wait_until;
use crate::stage;

impl Driver {
    /// Lets everybody finish; what remains stuck then, in words.
    pub(super) fn finish(&mut self) -> io::Result<Vec<String>> {
        let mut stuck = Vec::new();
        for (pid, _) in self.stopped.drain(..) {
            let _ = kill(pid, Signal::SIGCONT);
        }
        self.book.set(Board::Stop, 1);
        let mut phases = Phases::new();
        if self.keeper.is_none() {
            self.start_keeper()?;
        }
        let mut runners = std::mem::take(&mut self.runners);
        for runner in &mut runners {
            let mut status = None;
            let ended = wait_until(PATIENCE, || {
                status = runner.process.try_wait().ok().flatten();
                status.is_some()
            });
            if !ended {
                stuck.push(format!("publisher {} does not end", runner.id));
                runner.process.kill()?;
            }
            let status = runner.process.wait()?;
            self.end(runner, status)?;
        }
        phases.next("publishers");
        if let Some(mut master) = self.fpm.take() {
            let _ = kill(Pid::from_raw(master.id() as i32), Signal::SIGTERM);
            master.wait()?;
        }
        phases.next("php-fpm");
        // It may still be replacing the ring, whose last readers we would then wait for in vain.
        if !wait_until(PATIENCE, || self.book.get(Board::Starts) > self.starts) {
            stuck.push("the reading daemon does not start".into());
        }
        let segment = self.current()?;
        if !wait_until(PATIENCE, || self.book.get(Board::Next) >= segment.head()) {
            stuck.push(format!(
                "the reader stands at {}",
                self.book.get(Board::Next)
            ));
        }
        phases.next("reader");
        let leaks = || stage::pins(segment.ring()) + stage::dirty(segment.ring());
        if !wait_until(PATIENCE, || leaks() == 0) {
            stuck.push(format!(
                "{} pins and dirty writers of the dead remain",
                leaks()
            ));
        }
        phases.next("reaper");
        self.settle()?;
        phases.next("books");
        stuck.extend(
            self.ended
                .iter()
                .map(|ended| format!("{} is not settled", ended.id)),
        );
        self.book.set(Board::Stop, 2);
        if let Some(mut keeper) = self.keeper.take() {
            if self.served.is_some() {
                let _ = kill(Pid::from_raw(keeper.id() as i32), Signal::SIGTERM);
            }
            self.counts.failures += u64::from(!keeper.wait()?.success());
        }
        if let Some(subscriber) = self.subscriber.take() {
            self.counts.failures += u64::from(subscriber.join().is_err());
        }
        phases.next("daemon");
        self.wound_down = phases.text;
        stuck.extend(self.book.understated(&mut self.account.missing));
        Ok(stuck)
    }

    pub(super) fn verdict(&self, stuck: Vec<String>) -> bool {
        let (account, counts, board) = (&self.account, &self.counts, |word| self.book.get(word));
        for note in account.notes.iter().chain(&stuck) {
            println!("torture: {note}");
        }
        println!(
            "torture: {} events read ({} again after a restart), {} acknowledged, {} of them told to be \
             lost, {} refused to their publisher; {} publishers lived",
            board(Board::Events),
            board(Board::Again),
            account.acked,
            account.told,
            account.failed,
            self.next_id - 1
        );
        println!(
            "torture: {} kills, {} stops, {} restarts of the reading daemon, {} rotations; {} ranges \
             of {} positions told; {} reaped, who died in a publish; wound down in seconds:{}",
            counts.kills,
            counts.stops,
            counts.restarts,
            counts.rotations,
            board(Board::Told),
            board(Board::Positions),
            board(Board::Reaped),
            self.wound_down
        );
        let zeros = [
            ("torn", board(Board::Torn)),
            ("cursors backwards", board(Board::Backwards)),
            ("duplicates", board(Board::Duplicates)),
            ("unexplained losses", account.unexplained),
            ("at another position", account.elsewhere),
            (
                "out of order",
                account.disordered + board(Board::Disordered),
            ),
            ("arrived though refused", account.phantoms),
            ("of nobody", board(Board::Forged)),
            ("unreadable", board(Board::Unreadable)),
            ("rings given up", board(Board::Distrusts)),
            ("failed processes", counts.failures),
            ("stuck", stuck.len() as u64),
        ];
        let text: Vec<String> = zeros
            .iter()
            .map(|(what, n)| format!("{what} {n}"))
            .collect();
        let rest = match self.served {
            Some(_) => format!("{} connections cut", board(Board::Cuts)),
            None => format!("longest stall {:.1} ms", board(Board::Stall) as f64 / 1e6),
        };
        println!("torture: {}; {rest}", text.join(", "));
        zeros.iter().any(|(_, n)| *n > 0) || account.arrived == 0
    }
}

/// How long each part of an end took.
struct Phases {
    begun: Instant,
    text: String,
}

impl Phases {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            text: String::new(),
        }
    }

    fn next(&mut self, done: &str) {
        let took = std::mem::replace(&mut self.begun, Instant::now());
        let _ = write!(self.text, " {done} {:.1}", took.elapsed().as_secs_f64());
    }
}

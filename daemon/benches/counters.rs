//! `cargo bench -p askrd --bench counters`: what counting an event costs two workers at the same time, with counters
//! of their own and with one set for both; and what the tailer's watermarks cost on one cache line and on two.
//!
//! Rounds are interleaved, so that a busy neighbour disturbs all rows alike. Nanoseconds for each event.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Instant;

use askrd::hub::inbox::Watermarks;
use askrd::process::worker_counters::{WorkerCounters, Workers};

const ROUNDS: usize = 31;
const EVENTS: u64 = 1_000_000;

/// As [`Watermarks`], without padding.
#[derive(Default)]
struct SideBySide {
    started: AtomicU64,
    completed: AtomicU64,
}

fn main() {
    type Row = (&'static str, fn() -> f64);
    let rows: [Row; 5] = [
        ("counters: one worker", || {
            let workers = Workers::new(1);
            together([&|| count(workers.of(0))])
        }),
        ("counters: two workers, one set", || {
            let workers = Workers::new(1);
            together([&|| count(workers.of(0)), &|| count(workers.of(0))])
        }),
        ("counters: two workers, a set each", || {
            let workers = Workers::new(2);
            together([&|| count(workers.of(0)), &|| count(workers.of(1))])
        }),
        ("watermarks: one cache line", || {
            let marks = SideBySide::default();
            let started = |next| marks.started.store(next, SeqCst);
            let completed = |next| marks.completed.store(next, SeqCst);
            tail(started, completed, || marks.completed.load(SeqCst))
        }),
        ("watermarks: a line each", || {
            let marks = Watermarks::new(0);
            tail(
                |next| marks.start(next),
                |next| marks.complete(next),
                || marks.completed(),
            )
        }),
    ];
    let mut figures: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        for ((_, round), figures) in rows.iter().zip(&mut figures) {
            figures.push(round());
        }
    }
    println!("| ns an event | median | range |\n|---|---|---|");
    for ((name, _), mut figures) in rows.into_iter().zip(figures) {
        figures.sort_by(f64::total_cmp);
        let (least, most) = (figures[0], figures[ROUNDS - 1]);
        println!(
            "| {name} | {:.1} | {least:.1} – {most:.1} |",
            figures[ROUNDS / 2]
        );
    }
}

/// What a worker counts for an event, when each wakes it.
fn count(counters: &WorkerCounters) {
    for n in 0..EVENTS {
        counters.latency.observe(50_000 + n);
        counters.delivered.add(1);
        counters.bytes.add(100);
        counters.turns.observe(20_000 + n);
    }
}

/// Nanoseconds an event, of the slowest of some threads that begin together.
fn together<const N: usize>(work: [&(dyn Fn() + Sync); N]) -> f64 {
    let begin = Barrier::new(N);
    std::thread::scope(|scope| {
        let threads = work.map(|work| {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                let began = Instant::now();
                work();
                began.elapsed()
            })
        });
        let times = threads.map(|thread| thread.join().expect("it does not panic"));
        let slowest = times.into_iter().max().unwrap_or_default();
        slowest.as_nanos() as f64 / EVENTS as f64
    })
}

/// Nanoseconds an event of the thread that moves both marks, while another one reads one of them.
fn tail(
    start: impl Fn(u64) + Sync,
    complete: impl Fn(u64) + Sync,
    completed: impl Fn() -> u64 + Sync,
) -> f64 {
    let (begin, done) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            begin.wait();
            while !done.load(Relaxed) {
                std::hint::black_box(completed());
            }
        });
        begin.wait();
        let began = Instant::now();
        for next in 0..EVENTS {
            start(next);
            complete(next);
        }
        done.store(true, Relaxed);
        began.elapsed().as_nanos() as f64 / EVENTS as f64
    })
}

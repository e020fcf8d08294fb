//! `cargo bench -p shared --bench ring`: publish and read beside the physical floor, in one run.
//!
//! The floor of a publish is what no broadcast log can leave out: one clock read, one `fetch_add` on a
//! shared counter, one `memcpy` of the same bytes into the same span of memory. Every figure is the
//! median of interleaved rounds, so that a busy neighbour disturbs all rows alike.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use shared::event::EventRef;
use shared::fetch::Fetch;
use shared::keeper::{Keeper, Next};
use shared::layout::WR_DIRTY;
use shared::publisher::{AttachOptions, Publisher};
use shared::segment::now_ns;
use shared::spec::RingSpec;

const ROUNDS: usize = 15;
const EVENTS: u64 = 100_000;

fn main() {
    let name = format!("/askr-bench-{}", std::process::id());
    let spec = RingSpec {
        name: name.parse().unwrap(),
        ..RingSpec::default()
    };
    let mut keeper = Keeper::start(spec.clone()).unwrap();
    let floor = Floor::new();
    println!("| what | ours, ns | floor, ns | ratio |\n|---|---|---|---|");
    for (label, size, producers) in [
        ("publish 200 B, one producer", 200, 1),
        ("publish 200 B, two producers", 200, 2),
        ("publish 4 KiB, one producer", 4096, 1),
    ] {
        let data = vec![b'x'; size];
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            // The heartbeat of a daemon that is busy: no publish makes a system call.
            keeper.wait(Duration::ZERO);
            ours.push(measure(producers, || {
                let mut publisher = Publisher::new();
                publisher.configure(AttachOptions {
                    name: spec.name.clone(),
                    ..AttachOptions::default()
                });
                let data = &data;
                move || {
                    publisher.publish(&event(data)).unwrap();
                }
            }));
            bare.push(measure(producers, || {
                let (data, floor) = (&data, &floor);
                move || floor.publish(data)
            }));
        }
        row(label, median(ours), median(bare));
    }
    read_row(&keeper);
    queue_row();
    let keeper = wake_rows(keeper, &spec);
    drop(keeper);
    let _ = std::fs::remove_file(spec.name.path());
    let _ = std::fs::remove_file(spec.name.beside(".lock"));
}

fn event(data: &[u8]) -> EventRef<'_> {
    EventRef {
        channels: &[b"orders.1234567.shipments.x"],
        data,
        ..EventRef::default()
    }
}

/// ns per call with `producers` threads that start together.
fn measure<F: FnMut() + Send, M: Fn() -> F + Sync>(producers: u64, make: M) -> f64 {
    let barrier = Barrier::new(producers as usize);
    let spent: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..producers)
            .map(|_| {
                scope.spawn(|| {
                    let mut call = make();
                    (0..1000).for_each(|_| call());
                    barrier.wait();
                    let start = Instant::now();
                    (0..EVENTS).for_each(|_| call());
                    start.elapsed()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    spent.iter().map(Duration::as_nanos).sum::<u128>() as f64 / (producers * EVENTS) as f64
}

/// The same bytes into the same span: 2^15 slots, or the arena for large ones.
struct Floor {
    counter: AtomicU64,
    memory: usize,
    len: usize,
}

impl Floor {
    fn new() -> Self {
        let memory = vec![1u8; 16 << 20].leak();
        Self {
            counter: AtomicU64::new(0),
            memory: memory.as_mut_ptr() as usize,
            len: memory.len(),
        }
    }

    fn publish(&self, data: &[u8]) {
        let stride = (data.len() + 40).next_multiple_of(512);
        let now = now_ns();
        let at = self.counter.fetch_add(1, Relaxed) as usize * stride % (self.len - stride);
        // SAFETY: inside the leaked allocation; the bench's threads may race on bytes nobody reads.
        unsafe {
            let to = (self.memory + at) as *mut u8;
            to.cast::<u64>().write_unaligned(now);
            std::ptr::copy_nonoverlapping(data.as_ptr(), to.add(40), data.len());
        }
        black_box(at);
    }
}

fn read_row(keeper: &Keeper) {
    let segment = keeper.current();
    let data = [b'y'; 200];
    let mut publisher = Publisher::new();
    publisher.configure(AttachOptions {
        name: bench_name(),
        ..AttachOptions::default()
    });
    let slots = segment.geometry().slots();
    for _ in 0..slots {
        publisher.publish(&event(&data)).unwrap();
    }
    let (from, to) = (segment.oldest(), segment.head());
    let span = vec![b'y'; slots as usize * 512];
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let read = (from..to)
            .filter(|seq| matches!(segment.read(*seq), Fetch::Event(_)))
            .count();
        ours.push(start.elapsed().as_nanos() as f64 / read as f64);
        let start = Instant::now();
        let mut out = [0u8; 200];
        for n in 0..slots as usize {
            out.copy_from_slice(&span[n * 512..n * 512 + 200]);
            black_box(&out);
        }
        bare.push(start.elapsed().as_nanos() as f64 / slots as f64);
    }
    row(
        "replay by a reader, 200 B (floor: memcpy)",
        median(ours),
        median(bare),
    );
}

fn bench_name() -> shared::name::RingName {
    format!("/askr-bench-{}", std::process::id())
        .parse()
        .unwrap()
}

/// A rival's send of the same bytes inside one process: crossbeam's overwriting queue.
fn queue_row() {
    let queue = ArrayQueue::<[u8; 240]>::new(1 << 15);
    let data = [b'z'; 240];
    let times = (0..ROUNDS)
        .map(|_| {
            measure(1, || {
                let queue = &queue;
                move || {
                    black_box(queue.force_push(black_box(data)));
                }
            })
        })
        .collect();
    println!(
        "| crossbeam ArrayQueue::force_push, 240 B, one producer | {:.0} | | |",
        median(times)
    );
}

/// From a publish to the event in the hands of a reader that slept, beside a bare futex; and the same
/// while owners keep dying and being reaped.
fn wake_rows(mut keeper: Keeper, spec: &RingSpec) -> Keeper {
    while !matches!(keeper.step(), Next::Empty) {}
    let (mut bare, mut quiet, mut reaping) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.extend(futex_pings());
        let (back, times) = wakes(keeper, spec, false);
        quiet.extend(times);
        let (back, times) = wakes(back, spec, true);
        reaping.extend(times);
        keeper = back;
    }
    let floor = median(bare);
    let p50 = median(quiet.clone());
    row(
        "wake-up of a sleeping reader, p50 (floor: futex)",
        p50,
        floor,
    );
    println!(
        "| the same while {DYING} owners die at each event, p50 and p99 to those without | {:.0} | | {:.2} and {:.2} |",
        median(reaping.clone()),
        median(reaping.clone()) / p50,
        percentile(reaping, 0.99) / percentile(quiet, 0.99),
    );
    keeper
}

const PINGS: usize = 200;
const DYING: u16 = 16;
/// Longer than a reader looks on before it sleeps (50 µs).
const ASLEEP: Duration = Duration::from_micros(400);

fn wakes(mut keeper: Keeper, spec: &RingSpec, dying: bool) -> (Keeper, Vec<f64>) {
    let segment = keeper.current().clone();
    let (done, ends) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for _ in 0..PINGS {
            loop {
                match keeper.step() {
                    Next::Event { .. } => break,
                    _ => keeper.wait(Duration::from_secs(1)),
                }
            }
            done.send(Instant::now()).unwrap();
        }
        keeper
    });
    let mut publisher = Publisher::new();
    publisher.configure(AttachOptions {
        name: spec.name.clone(),
        ..AttachOptions::default()
    });
    let times = (0..PINGS)
        .map(|_| {
            std::thread::sleep(ASLEEP);
            // What a killed publisher leaves behind: a dirty entry that nobody holds the lock of.
            for owner in (1..=DYING).filter(|_| dying) {
                segment.ring().writer(2000 + owner)[WR_DIRTY].store(1, Relaxed);
            }
            let start = Instant::now();
            publisher.publish(&event(b"wake")).unwrap();
            let end = ends.recv().unwrap();
            (end - start).as_nanos() as f64
        })
        .collect();
    (reader.join().unwrap(), times)
}

/// What any wake-up costs: one thread waits on a futex, another changes the word and wakes it.
fn futex_pings() -> Vec<f64> {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let call = |operation: i32, value: u32| {
        // SAFETY: the address is a static's; no other argument is a pointer.
        unsafe {
            let none = std::ptr::null::<libc::timespec>();
            libc::syscall(libc::SYS_futex, WORD.as_ptr(), operation, value, none)
        }
    };
    let first = WORD.load(Relaxed);
    let (done, ends) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        for n in 0..PINGS as u32 {
            while WORD.load(Relaxed) == first.wrapping_add(n) {
                call(libc::FUTEX_WAIT, first.wrapping_add(n));
            }
            done.send(Instant::now()).unwrap();
        }
    });
    let times = (0..PINGS)
        .map(|_| {
            std::thread::sleep(ASLEEP);
            let start = Instant::now();
            WORD.fetch_add(1, Relaxed);
            call(libc::FUTEX_WAKE, 1);
            (ends.recv().unwrap() - start).as_nanos() as f64
        })
        .collect();
    waiter.join().unwrap();
    times
}

fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() as f64 * share) as usize]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn row(label: &str, ours: f64, floor: f64) {
    println!("| {label} | {ours:.0} | {floor:.0} | {:.2} |", ours / floor);
}

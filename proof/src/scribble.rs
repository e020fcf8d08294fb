//! A writer of nonsense: what a broken or hostile process with the right to write the ring can do to it.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, symlink};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use shared::checksum;
use shared::event::EventRef;
use shared::layout::*;
use shared::lock;
use shared::publisher::Publisher;
use shared::ring::{Ring, Shape, pack_len, unpack_len};
use shared::segment::Segment;

use crate::rng::Rng;
use crate::stage;

/// How often one act in so many is against the file instead of its contents.
const FILE_ACTS: u64 = 400;

/// Scribbles until it is killed, or dies of its own deeds (SIGBUS after a truncation).
pub fn scribble(dir: &Path, seed: u64) -> io::Result<()> {
    let mut rng = Rng::new(seed);
    let path = dir.join("ring");
    loop {
        // The name may lead nowhere, or to nonsense of ours; the daemon puts that right.
        if let Some(target) = Target::open(&path) {
            for _ in 0..rng.below(40) {
                target.disturb(&mut rng);
                if rng.one_in(FILE_ACTS) {
                    against_the_file(dir, &path, &target.file, &mut rng)?;
                }
                std::thread::sleep(Duration::from_micros(rng.below(1500)));
            }
        }
        std::thread::sleep(Duration::from_millis(1 + rng.below(20)));
    }
}

struct Target {
    file: File,
    raw: MmapRaw,
    shape: Shape,
    foreign: RefCell<Publisher>,
}

impl Target {
    fn open(path: &Path) -> Option<Self> {
        let segment = Segment::open(path, |_| true).ok()?;
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        let raw = MmapOptions::new()
            .len(segment.geometry().total_len())
            .map_raw(&file)
            .ok()?;
        let shape = Shape::new(segment.geometry(), segment.max_payload());
        let name = path.to_str()?.parse().ok()?;
        Some(Self {
            file,
            raw,
            shape,
            foreign: RefCell::new(stage::publisher(&name)),
        })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: page-aligned and as long as that; any bits are an AtomicU64. A file cut short
        // kills this process, which is what it is for.
        unsafe { std::slice::from_raw_parts(self.raw.as_mut_ptr().cast(), self.raw.len() / 8) }
    }

    fn disturb(&self, rng: &mut Rng) {
        let ring = Ring::new(self.words(), &self.shape);
        let geometry = *ring.geometry();
        let tail = ring.tail().load(Relaxed);
        // Around the tail is where readers and publishers are at this moment.
        let near = tail.wrapping_add(rng.below(16)).wrapping_sub(12);
        let slot = ring.slot(near);
        let odd = odd_word(rng, tail);
        match rng.below(24) {
            0 => self.words()[rng.below(self.words().len() as u64) as usize]
                .store(rng.word(), Relaxed),
            1 => {
                let from = rng.below(self.words().len() as u64 - 64) as usize;
                self.words()[from..from + 64]
                    .iter()
                    .for_each(|word| word.store(rng.word(), Relaxed));
            }
            2 => flip_bit(
                &self.words()[rng.below(HEADER_LEN as u64 / 8) as usize],
                rng,
            ),
            3 if rng.one_in(20) => ring.tail().store(odd, Relaxed),
            4 if rng.one_in(20) => flip_bit(ring.tail(), rng),
            5 if rng.one_in(4) => ring.word(W_ARENA_TAIL).store(odd, Relaxed),
            6 => ring.word(W_SLEEPERS).store(rng.word(), Relaxed),
            7 => ring.word(W_SLEEPERS).store(0, Relaxed),
            8 => ring.word(W_GEN).store(rng.word(), Relaxed),
            9 => ring.word(W_HEARTBEAT).store(odd, Relaxed),
            10 => ring.word(W_READ).store(odd, Relaxed),
            11 => ring.word(W_CLOSED_AT).store(odd, Relaxed),
            12 => flip_bit(&slot[S_STAMP], rng),
            13 => slot[S_STAMP].store(odd << 20 | rng.word() & 0xfffff, Relaxed),
            14 => slot[S_STAMP].store(ring.slot_lap(near) << 20 | rng.word() & 0xfffff, Relaxed),
            15 => slot[S_LEN].store(odd, Relaxed),
            16 => flip_bit(&slot[S_LEN], rng),
            17 => slot[S_ARENA].store(odd, Relaxed),
            18 => slot[S_SUM].store(rng.word(), Relaxed),
            19 => flip_bit(
                &slot[S_BODY + rng.below(geometry.slot_words() as u64 - 5) as usize],
                rng,
            ),
            20 => {
                let cell = ring
                    .word(W_ARENA_TAIL)
                    .load(Relaxed)
                    .wrapping_sub(rng.below(64));
                ring.cell_stamp(cell)
                    .store(ring.cell_lap(cell) << 20 | rng.word() & 0xfffff, Relaxed);
            }
            21 => ring.writer(rng.word() as u16)[WR_DIRTY].store(rng.word() & 1, Relaxed),
            22 => forge(ring, near, rng),
            _ => {
                let _ = self.foreign.borrow_mut().publish(&FOREIGN);
            }
        }
    }
}

/// Words that lie where checks must decide.
fn odd_word(rng: &mut Rng, tail: u64) -> u64 {
    match rng.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => tail.wrapping_add(rng.below(1 << 20)),
        3 => tail.wrapping_sub(rng.below(1 << 20)),
        4 => CLOSED | tail,
        5 => MAX_POSITION.wrapping_add(rng.below(3)).wrapping_sub(1),
        6 => 1 << rng.below(64),
        _ => rng.word(),
    }
}

fn flip_bit(word: &AtomicU64, rng: &mut Rng) {
    word.fetch_xor(1 << rng.below(64), Relaxed);
}

/// Gives a record a right checksum after changing its lengths, flags or names.
fn forge(ring: Ring<'_>, position: u64, rng: &mut Rng) {
    let slot = ring.slot(position);
    let (mut len, mut head, mut flags) = unpack_len(slot[S_LEN].load(Relaxed));
    match rng.below(5) {
        0 => len = rng.word() as u32,
        1 => head = rng.word() as u16,
        2 => flags = rng.word() as u16,
        // A name that only the daemon may use, as the first field of the head.
        3 => slot[S_BODY].store(u64::from_le_bytes(*b"\x01\x06askr:x"), Relaxed),
        _ => slot[S_BODY + 1].store(rng.word(), Relaxed),
    }
    let inline = ring.geometry().inline_len().min(len as usize);
    let mut body = Vec::new();
    shared::copy::load(&slot[S_BODY..], inline, &mut body);
    let (word, run) = (pack_len(len, head, flags), 0);
    let (start, rest) = body.split_at(body.len().min(head as usize));
    let time = slot[S_TIME].load(Relaxed);
    let bound = checksum::bind(checksum::of(start, rest), position, word, run, time);
    slot[S_LEN].store(word, Relaxed);
    slot[S_ARENA].store(run, Relaxed);
    slot[S_SUM].store(bound, Relaxed);
}

/// Somebody else's event, published by the rules: it is accepted, and told apart by its channel.
const FOREIGN: EventRef<'static> = EventRef {
    channels: &[b"foreign"],
    data: b"well-formed",
    ..EventRef::EMPTY
};

fn against_the_file(dir: &Path, path: &Path, file: &File, rng: &mut Rng) -> io::Result<()> {
    let aside = dir.join("scribbled");
    let _ = std::fs::remove_file(&aside);
    let len = file.metadata()?.len();
    match rng.below(9) {
        0 => file.set_len(0)?,
        1 => file.set_len(rng.below(len + 1))?,
        2 => {
            file.set_len(0)?;
            file.set_len(len)?;
        }
        3 => file.set_len(len + 4096)?,
        4 => drop(std::fs::remove_file(path)),
        5 => {
            // A stale copy of the ring itself: every check of the header passes.
            let _ = std::fs::copy(path, &aside);
            let _ = std::fs::rename(&aside, path);
        }
        6 => {
            std::fs::write(&aside, vec![rng.word() as u8; 8192])?;
            let _ = std::fs::rename(&aside, path);
        }
        7 => {
            let _ = symlink("/dev/zero", &aside);
            let _ = std::fs::rename(&aside, path);
        }
        _ => {
            // Takes every writer's lock for a while: nobody can attach, nobody looks dead.
            let mut locks = OpenOptions::new();
            let locks = locks
                .read(true)
                .write(true)
                .custom_flags(libc::O_CLOEXEC)
                .open(path);
            if let Ok(locks) = locks {
                for owner in 1..256 {
                    let _ = lock::try_lock(&locks, owner);
                }
                std::thread::sleep(Duration::from_millis(300));
            }
        }
    }
    // Through the descriptor as well, past every mapping.
    let _ = file.write_at(&rng.word().to_le_bytes(), rng.below(len.max(8)));
    Ok(())
}

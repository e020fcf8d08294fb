//! A segment: a file on tmpfs, mapped, whose header was validated once.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::AtomicU64;

use nix::time::{ClockId, clock_gettime};

use crate::cursor::{Cursor, Epoch};
use crate::fetch::{self, Fetch};
use crate::layout::*;
use crate::map::Map;
use crate::prim::Ordering::*;
use crate::published_vector;
use crate::ring::{Ring, Shape};
use crate::sigbus;
use crate::vector::Vector;

/// A mapped segment. Shared by reference; everything in it is atomic.
pub struct Segment {
    /// Goes before the mapping does.
    guard: Option<sigbus::Guard>,
    map: Map,
    shape: Shape,
    epoch: Epoch,
    first: u64,
    created_ns: u64,
    header: [u64; W_TAIL],
    inode: (u64, u64),
    /// Below it nothing is read any more, whatever the file has there.
    given_up: AtomicU64,
}

/// Why a file is not used as a ring.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("does not exist")]
    Missing,
    #[error("may not be opened ({0})")]
    Permission(io::Error),
    #[error("belongs to uid {found}, which is not trusted to own it")]
    Owner { found: u32 },
    #[error("may be written by every user of this machine")]
    Mode,
    #[error("is not an Askr ring of this version")]
    Version,
    #[error("has a damaged header ({0})")]
    Header(&'static str),
    #[error("cannot be opened ({0})")]
    Io(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Permission(error),
            _ => Self::Io(error),
        }
    }
}

impl Segment {
    /// Opens and validates an existing segment. `trusted` says whether such a file may be one (`trust`).
    pub fn open(path: &Path, trusted: impl Fn(&Metadata) -> bool) -> Result<Self, Unusable> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open(path)?;
        let meta = file.metadata()?;
        if !meta.file_type().is_file() {
            return Err(Unusable::Header("not a regular file"));
        }
        if !trusted(&meta) {
            return Err(Unusable::Owner { found: meta.uid() });
        }
        if meta.mode() & 0o002 != 0 {
            return Err(Unusable::Mode);
        }
        if meta.len() < HEADER_LEN as u64 {
            return Err(Unusable::Version);
        }
        // Read through the file, not the mapping: a file cut short now is an error, not a SIGBUS.
        let header = read_header(&file)?;
        let valid = validate(&header, meta.len())?;
        Self::map(&file, (meta.dev(), meta.ino()), header, valid)
    }

    /// Writes a complete, empty ring into `file`, whose `geometry.total_len()` bytes are allocated.
    pub fn format(
        file: &File,
        geometry: Geometry,
        max_payload: u64,
        epoch: [u8; 16],
        first: u64,
    ) -> Result<Self, Unusable> {
        let meta = file.metadata()?;
        let mut header = [0; W_TAIL];
        header[W_MAGIC] = MAGIC;
        header[W_LAYOUT] = u64::from(LAYOUT) | (HEADER_LEN as u64) << 32;
        header[W_TOTAL] = geometry.total_len() as u64;
        header[W_SHAPE] = geometry.shape_word();
        let (low, high) = epoch.split_at(8);
        header[W_EPOCH] = u64::from_le_bytes(low.try_into().unwrap_or_default());
        header[W_EPOCH + 1] = u64::from_le_bytes(high.try_into().unwrap_or_default());
        header[W_CREATED] = now_ns();
        header[W_FIRST] = first;
        header[W_MAX_PAYLOAD] = max_payload;
        header[W_CRC] = header_crc(&header);
        let valid = validate(&header, meta.len())?;
        let segment = Self::map(file, (meta.dev(), meta.ino()), header, valid)?;
        let words = segment.map.words();
        for (word, value) in words.iter().zip(header) {
            word.store(value, Relaxed);
        }
        // Lap 1 at least: zeroed memory reads as holes of lap 0.
        words[W_TAIL].store(first, Relaxed);
        words[W_READ].store(first, Relaxed);
        words[W_ARENA_TAIL].store(geometry.cells(), Release);
        Ok(segment)
    }

    fn map(
        file: &File,
        inode: (u64, u64),
        header: [u64; W_TAIL],
        (geometry, max_payload): (Geometry, u64),
    ) -> Result<Self, Unusable> {
        let map = Map::new(file, geometry.total_len())?;
        let [a, b, c, d, e, f, ..] = header[W_EPOCH].to_le_bytes();
        Ok(Self {
            guard: sigbus::Guard::new(map.range()),
            map,
            shape: Shape::new(geometry, max_payload),
            epoch: Epoch([a, b, c, d, e, f]),
            first: header[W_FIRST],
            created_ns: header[W_CREATED],
            header,
            inode,
            given_up: AtomicU64::new(0),
        })
    }

    #[inline(always)]
    pub fn ring(&self) -> Ring<'_> {
        Ring::new(self.map.words(), &self.shape)
    }

    pub fn geometry(&self) -> Geometry {
        self.shape.geometry()
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The random epoch in full, which a segment made for rotation takes over.
    pub fn epoch_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.header[W_EPOCH].to_le_bytes());
        bytes[8..].copy_from_slice(&self.header[W_EPOCH + 1].to_le_bytes());
        bytes
    }

    /// The first position this segment can hold.
    pub fn first(&self) -> u64 {
        self.first
    }

    pub fn max_payload(&self) -> u64 {
        self.shape.max_payload()
    }

    /// Unix time, nanoseconds.
    pub fn created_ns(&self) -> u64 {
        self.created_ns
    }

    pub fn inode(&self) -> (u64, u64) {
        self.inode
    }

    /// Whether `path` leads to this very file, without following a link.
    pub fn is_at(&self, path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.inode)
    }

    /// Whether the file was found cut short. The mapping is private memory then, its tail closed.
    pub fn truncated(&self) -> bool {
        self.guard.as_ref().is_some_and(sigbus::Guard::hit)
    }

    /// Whether the header still is what was validated; only a hostile or broken writer changes it.
    pub fn header_intact(&self) -> bool {
        self.map
            .words()
            .iter()
            .zip(self.header)
            .all(|(word, known)| word.load(Relaxed) == known)
    }

    /// The event at `seq`.
    pub fn read(&self, seq: u64) -> Fetch {
        let given_up = || seq < self.given_up.load(SeqCst);
        if seq < self.first || seq >= self.geometry().max_position() || given_up() {
            return Fetch::Overwritten;
        }
        match fetch::fetch(self.ring(), seq) {
            found @ Fetch::Event(_) => found,
            // Its memory may have been given back meanwhile.
            _ if given_up() => Fetch::Overwritten,
            found => found,
        }
    }

    /// From now on nothing below `position` is read.
    pub fn give_up_below(&self, position: u64) {
        self.given_up.fetch_max(position, SeqCst);
    }

    /// The place before which everything lies that was published until now, and after which everything comes that is
    /// published from now on; what is published at this moment may be on either side. None: the ring is closed.
    ///
    /// While a predecessor may still be open (it was replaced a moment ago, or askrd was killed in between) its end
    /// at the replacement is what is told: earlier than need be, so that nothing is missed.
    pub fn cursor(&self) -> Option<Cursor> {
        let ring = self.ring();
        let tail = ring.tail().load(SeqCst);
        if tail & CLOSED != 0 {
            return None;
        }
        let floor = ring.word(W_FLOOR).load(SeqCst);
        let next = if floor == 0 { tail } else { tail.min(floor) };
        Some(Cursor {
            epoch: self.epoch,
            // A forged word must not name a position that there cannot be.
            seq: next.clamp(1, self.geometry().max_position()) - 1,
        })
    }

    /// The same across hosts, for who has everything of this one up to `cursor`. None on one host.
    pub fn vector(&self, cursor: Cursor) -> Option<Vector> {
        published_vector::read(self.ring(), cursor)
    }

    /// Takes the event at `seq` out of the ring; see `fetch::erase`.
    pub fn erase(&self, seq: u64) -> bool {
        (self.first..self.geometry().max_position()).contains(&seq)
            && fetch::erase(self.ring(), seq)
    }

    /// The next position a publisher will claim; in a closed ring, the first that none can.
    pub fn head(&self) -> u64 {
        let ring = self.ring();
        let word = ring.tail().load(Acquire);
        // In a closed ring every failed claim moves the low bits on.
        let closed_at = ring.word(W_CLOSED_AT).load(Acquire);
        let head = if word & CLOSED != 0 && closed_at != 0 {
            closed_at
        } else {
            word & !CLOSED
        };
        head.clamp(self.first, self.geometry().max_position())
    }

    /// The oldest position that may still be readable.
    pub fn oldest(&self) -> u64 {
        let head = self.head();
        let held = head.saturating_sub(self.geometry().slots());
        let given_up = self.given_up.load(SeqCst);
        self.first.max(held).max(given_up.min(head))
    }

    /// Seconds between the oldest event held and now; 0 when there is none.
    pub fn history_seconds(&self) -> f64 {
        let ring = self.ring();
        let (oldest, head) = (self.oldest(), self.head());
        let published = (oldest..head).find_map(|seq| fetch::published(ring, seq));
        published.map_or(0.0, |at| now_ns().saturating_sub(at) as f64 / 1e9)
    }
}

/// Unix time in nanoseconds.
#[inline]
pub fn now_ns() -> u64 {
    read_clock(ClockId::CLOCK_REALTIME)
}

/// The same as of the kernel's last tick, some milliseconds ago: a quarter of the cost.
#[inline]
pub fn coarse_now_ns() -> u64 {
    read_clock(ClockId::CLOCK_REALTIME_COARSE)
}

#[inline]
fn read_clock(clock: ClockId) -> u64 {
    // Not `SystemTime`, whose arithmetic costs as much as the clock itself.
    clock_gettime(clock).map_or(0, |now| {
        (now.tv_sec() as u64).wrapping_mul(1_000_000_000) + now.tv_nsec() as u64
    })
}

/// Unix time in seconds.
pub fn now_s() -> u64 {
    now_ns() / 1_000_000_000
}

fn read_header(file: &File) -> io::Result<[u64; W_TAIL]> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; W_TAIL * 8];
    file.read_exact_at(&mut bytes, 0)?;
    let mut header = [0; W_TAIL];
    for (word, chunk) in header.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
    }
    Ok(header)
}

fn header_crc(header: &[u64; W_TAIL]) -> u64 {
    let mut crc = crc32fast::Hasher::new();
    for word in &header[..W_CRC] {
        crc.update(&word.to_le_bytes());
    }
    u64::from(crc.finalize())
}

/// Checks a header against itself and against the file's length.
pub fn validate(header: &[u64; W_TAIL], file_len: u64) -> Result<(Geometry, u64), Unusable> {
    let layout = u64::from(LAYOUT) | (HEADER_LEN as u64) << 32;
    if header[W_MAGIC] != MAGIC || header[W_LAYOUT] != layout {
        return Err(Unusable::Version);
    }
    if header[W_CRC] != header_crc(header) {
        return Err(Unusable::Header("checksum"));
    }
    let geometry = Geometry::from_shape_word(header[W_SHAPE]).ok_or(Unusable::Header("sizes"))?;
    let total = geometry.total_len() as u64;
    if header[W_TOTAL] != total || file_len != total {
        return Err(Unusable::Header("length"));
    }
    let first = header[W_FIRST];
    let range = geometry.slots()..geometry.max_position();
    if !range.contains(&first) || !first.is_multiple_of(geometry.slots()) {
        return Err(Unusable::Header("first position"));
    }
    let max_payload = header[W_MAX_PAYLOAD];
    if max_payload == 0 || max_payload > geometry.hard_max_body() {
        return Err(Unusable::Header("largest payload"));
    }
    Ok((geometry, max_payload))
}

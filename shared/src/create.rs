//! Making a segment's file: complete before anybody can see it under its name.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;
use nix::unistd::fchown;

use crate::layout::{Geometry, W_FLOOR};
use crate::leftovers;
use crate::prim::Ordering::Release;
use crate::segment::Segment;
use crate::spec::RingSpec;

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("{0}")]
    Spec(#[from] crate::spec::BadSpec),
    #[error("cannot create the ring {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "no room for the ring {path}: it needs {len} bytes; lower ring.slots or ring.arena, or enlarge the tmpfs"
    )]
    NoSpace { path: PathBuf, len: u64 },
}

/// A complete, empty segment under a temporary name beside the ring's. It is removed if it never gets the
/// ring's: a leftover means that its creator was killed.
pub struct NewSegment {
    segment: Segment,
    file: Temporary,
}

/// A file that is removed when dropped, unless it was given another name.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl NewSegment {
    pub fn create(
        spec: &RingSpec,
        geometry: Geometry,
        epoch: [u8; 16],
        first: u64,
    ) -> Result<Self, CreateError> {
        let place = spec.name.path();
        let failed = |error: io::Error| CreateError::Io {
            path: place.to_owned(),
            error,
        };
        let len = geometry.total_len() as u64;
        let no_space = || CreateError::NoSpace {
            path: place.to_owned(),
            len,
        };
        // Allocating takes all there is before it fails, and others want some of it.
        if room(place).is_some_and(|room| room < len) {
            return Err(no_space());
        }
        let path = leftovers::new_path(&spec.name).map_err(failed)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)
            .map_err(failed)?;
        let temporary = Temporary(Some(path));
        // Group before mode: chown clears bits, and the file must not be open to a wrong group meanwhile.
        if let Some(gid) = spec.gid()? {
            fchown(&file, None, Some(gid)).map_err(|errno| failed(errno.into()))?;
        }
        // A sparse file on a full tmpfs would raise SIGBUS in whoever touches the missing page.
        match posix_fallocate(&file, 0, len as i64) {
            Ok(()) => {}
            Err(nix::errno::Errno::ENOSPC) => return Err(no_space()),
            Err(errno) => return Err(failed(errno.into())),
        }
        let segment = Segment::format(&file, geometry, spec.max_payload(), epoch, first)
            .map_err(|why| failed(io::Error::other(why.to_string())))?;
        file.set_permissions(Permissions::from_mode(spec.mode))
            .map_err(failed)?;
        Ok(Self {
            segment,
            file: temporary,
        })
    }

    /// What publishers take for its tail until its predecessor is closed; see `Segment::cursor`.
    pub fn set_floor(&self, position: u64) {
        self.segment.ring().word(W_FLOOR).store(position, Release);
    }

    /// Gives it the ring's name, replacing what bears it.
    pub fn rename_over(mut self, name: &Path) -> io::Result<Segment> {
        if let Some(path) = &self.file.0 {
            std::fs::rename(path, name)?;
        }
        self.file.0 = None;
        Ok(self.segment)
    }
}

/// Bytes that are free where the ring is. None: not known, or without a limit.
fn room(place: &Path) -> Option<u64> {
    let fs = statvfs(place.parent()?).ok()?;
    (fs.blocks() > 0).then(|| fs.blocks_available() * fs.fragment_size())
}

//! Making a segment's file: complete before anybody can see it under its name.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use nix::unistd::fchown;

use crate::layout::Geometry;
use crate::segment::Segment;
use crate::spec::RingSpec;

/// Suffix of a segment in the making; a leftover means that its creator was killed.
pub const NEW: &str = ".new-";

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

/// A complete, empty segment under a temporary name beside the ring's; removed when dropped.
pub struct NewSegment {
    path: PathBuf,
    pub segment: Segment,
}

impl NewSegment {
    pub fn create(
        spec: &RingSpec,
        geometry: Geometry,
        epoch: [u8; 16],
        first: u64,
    ) -> Result<Self, CreateError> {
        let path = spec.name.beside(&format!("{NEW}{}", std::process::id()));
        let failed = |error: io::Error| CreateError::Io {
            path: path.clone(),
            error,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)
            .map_err(failed)?;
        let made = fill(&file, &path, spec, geometry, epoch, first);
        match made {
            Ok(segment) => Ok(Self { path, segment }),
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Gives it the ring's name, replacing what bears it.
    pub fn rename_over(self, name: &Path) -> io::Result<Segment> {
        std::fs::rename(&self.path, name)?;
        Ok(self.segment)
    }
}

fn fill(
    file: &File,
    path: &Path,
    spec: &RingSpec,
    geometry: Geometry,
    epoch: [u8; 16],
    first: u64,
) -> Result<Segment, CreateError> {
    let failed = |error: io::Error| CreateError::Io {
        path: path.to_owned(),
        error,
    };
    let len = geometry.total_len() as u64;
    // Group before mode: chown clears bits, and the file must not be open to a wrong group meanwhile.
    if let Some(gid) = spec.gid()? {
        fchown(file, None, Some(gid)).map_err(|errno| failed(errno.into()))?;
    }
    // A sparse file on a full tmpfs would raise SIGBUS in whoever touches the missing page.
    match posix_fallocate(file, 0, len as i64) {
        Ok(()) => {}
        Err(nix::errno::Errno::ENOSPC) => {
            return Err(CreateError::NoSpace {
                path: spec.name.path().to_owned(),
                len,
            });
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    let segment = Segment::format(file, geometry, spec.max_payload(), epoch, first)
        .map_err(|why| failed(io::Error::other(why.to_string())))?;
    file.set_permissions(Permissions::from_mode(spec.mode))
        .map_err(failed)?;
    Ok(segment)
}

//! Why a daemon cannot serve a ring.

use std::io;
use std::path::PathBuf;

use crate::create::CreateError;

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error("{0}")]
    Spec(#[from] crate::spec::BadSpec),
    #[error("another askrd{} already serves the ring {ring}: it holds {}", by(.pid), path.display())]
    Served {
        ring: String,
        pid: Option<u32>,
        path: PathBuf,
    },
    #[error("cannot use the lock file {}: {error}", path.display())]
    Lock { path: PathBuf, error: io::Error },
    #[error("{} {why}; remove it or choose another ring.name", path.display())]
    Foreign { path: PathBuf, why: String },
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("cannot replace the ring {}: {error}", path.display())]
    Replace { path: PathBuf, error: io::Error },
    #[error("cannot give the ring its name {}: {error}; remove what bears it, which belongs to uid {uid}", path.display())]
    Taken {
        path: PathBuf,
        error: io::Error,
        uid: u32,
    },
}

impl KeeperError {
    /// Whether the kernel denied it: something belongs to another user or group.
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Lock { error, .. }
            | Self::Replace { error, .. }
            | Self::Create(CreateError::Io { error, .. }) => {
                error.kind() == io::ErrorKind::PermissionDenied
            }
            Self::Foreign { .. } => true,
            _ => false,
        }
    }
}

fn by(pid: &Option<u32>) -> String {
    pid.map_or(String::new(), |pid| format!(" (pid {pid})"))
}

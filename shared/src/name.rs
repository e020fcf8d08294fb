//! The name of a ring: a POSIX shared-memory name (`/askr`) or a path on tmpfs (`/run/askr/ring`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where POSIX shared memory lives on Linux (shm_overview(7)).
const SHM: &str = "/dev/shm";

/// One slash, at the start, means a POSIX name; more mean a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingName {
    name: String,
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a shared-memory name such as \"/askr\" or an absolute path such as \"/run/askr/ring\", at most 200 bytes, without control characters, \"..\" or a slash at the end"
)]
pub struct BadName;

impl RingName {
    pub const DEFAULT: &str = "/askr";

    /// The file itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A neighbour of the file: the daemon's lock, a segment in the making, a retired one.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }
}

impl FromStr for RingName {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        let parts = name.strip_prefix('/').ok_or(BadName)?;
        let sound = |part: &str| !part.is_empty() && part != "." && part != "..";
        if name.len() > 200 || name.chars().any(char::is_control) || !parts.split('/').all(sound) {
            return Err(BadName);
        }
        let path = if parts.contains('/') {
            PathBuf::from(name)
        } else {
            Path::new(SHM).join(parts)
        };
        Ok(Self {
            name: name.to_owned(),
            path,
        })
    }
}

impl Default for RingName {
    fn default() -> Self {
        Self {
            name: Self::DEFAULT.to_owned(),
            path: Path::new(SHM).join("askr"),
        }
    }
}

impl fmt::Display for RingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slash_is_a_posix_name_and_more_are_a_path() {
        let path = |name: &str| name.parse::<RingName>().map(|n| n.path().to_owned());
        assert_eq!(path("/askr"), Ok("/dev/shm/askr".into()));
        assert_eq!(path("/run/askr/ring"), Ok("/run/askr/ring".into()));
        assert_eq!(RingName::default(), RingName::DEFAULT.parse().unwrap());
        for bad in ["", "askr", "/", "//a", "/a/", "/a/../b", "/a\0b", "/.."] {
            assert_eq!(path(bad), Err(BadName), "{bad:?}");
        }
    }
}

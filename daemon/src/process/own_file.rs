//! Files beside a ring in which a process leaves something for the next one. Where everybody may make files, somebody else may
//! have made one by that name: it is read only if it is askrd's own. It is replaced as a whole, since a process may be killed
//! at any moment; none of them need survive a power cut, so none is synced.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// What others must not be able to do with such a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They may read it.
    MustNotWrite,
    MustNotUse,
}

/// The first bytes of a file, as many as there may be; None, if there is none. `trusted`: whether this user may own it.
///
/// # Errors
/// If it cannot be read, or is not believed.
pub fn read(
    path: &Path,
    most: u64,
    others: Others,
    trusted: impl Fn(u32) -> bool,
) -> io::Result<Option<Vec<u8>>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match file {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    believe(&file.metadata()?, others, trusted)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn believe(meta: &Metadata, others: Others, trusted: impl Fn(u32) -> bool) -> io::Result<()> {
    let open = match others {
        Others::MustNotWrite => 0o022,
        Others::MustNotUse => 0o077,
    };
    if meta.is_file() && trusted(meta.uid()) && meta.mode() & open == 0 {
        return Ok(());
    }
    let (uid, mode) = (meta.uid(), meta.mode() & 0o7777);
    let why = format!("belongs to uid {uid} with mode {mode:04o}: is it askrd's own file?");
    Err(io::Error::other(why))
}

/// Whether it is this process's own user.
pub fn own(uid: u32) -> bool {
    uid == geteuid().as_raw()
}

/// Puts a new file, which `fill` fills, in the place of an old one. Only its owner may use it, unless `fill` changes that.
///
/// # Errors
/// Then the old one is as it was.
pub fn replace<T>(path: &Path, fill: impl FnOnce(File) -> io::Result<T>) -> io::Result<T> {
    let mut new = OsString::from(path);
    new.push(".new");
    let new = PathBuf::from(new);
    // What a killed process left.
    let _ = fs::remove_file(&new);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&new)?;
    let made = fill(file).and_then(|made| {
        fs::rename(&new, path)?;
        Ok(made)
    });
    if made.is_err() {
        let _ = fs::remove_file(&new);
    }
    made
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn text(path: &Path, others: Others) -> Option<Vec<u8>> {
        read(path, 3, others, own).unwrap()
    }

    #[test]
    fn what_somebody_else_may_have_made_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert_eq!(text(&path, Others::MustNotWrite), None);
        fs::write(&path, "long").unwrap();
        let mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        assert_eq!(text(&path, Others::MustNotWrite).unwrap(), b"lon");
        let refused = |others, trusted: fn(u32) -> bool| {
            read(&path, 3, others, trusted).unwrap_err().to_string()
        };
        assert!(refused(Others::MustNotUse, own).contains("mode 0640"));
        assert!(refused(Others::MustNotWrite, |_| false).contains("belongs to uid"));
        mode(0o622);
        assert!(refused(Others::MustNotWrite, own).contains("askrd's own file?"));
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(read(&link, 3, Others::MustNotWrite, own).is_err());
        assert!(read(directory.path(), 3, Others::MustNotWrite, |_| true).is_err());
    }

    #[test]
    fn a_file_is_replaced_wholly_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let (path, new) = (
            directory.path().join("file"),
            directory.path().join("file.new"),
        );
        fs::write(&new, "half").unwrap();
        replace(&path, |mut file| file.write_all(b"one")).unwrap();
        let failed = replace(&path, |mut file| {
            file.write_all(b"two")?;
            Err::<(), _>(io::Error::other("no room"))
        });
        assert!(failed.is_err() && !new.exists());
        assert_eq!(text(&path, Others::MustNotUse).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}

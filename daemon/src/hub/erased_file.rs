//! `NAME.forgotten`, beside the ring: which channels' events were erased up to which position, so that a restart does not
//! bring those back that stay in the ring for other channels. It lasts as long as the ring: entries of another epoch
//! mean nothing.
//!
//! ```text
//! askr forgotten 1
//! 3f9a1c22d07e-32768 a channel's name
//! ```
//!
//! On several hosts there are lines with a vector before the cursor: of what lies up to the cursor, what the vector has
//! is erased.
//!
//! A new file takes the place of the old one when it is complete. Whoever may read the ring may read it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use shared::cursor::Cursor;
use shared::rules;
use shared::vector::Vector;

use crate::hub::erased::{self, Erasure, MOST};

/// Of the file's name, after that of the ring.
pub const SUFFIX: &str = ".forgotten";
const HEAD: &str = "askr forgotten 1\n";
/// Bytes of the longest file.
const LONGEST: u64 = (HEAD.len() + MOST * (2 * LINE + Vector::MAX_LEN + 1)) as u64;
const LINE: usize = Cursor::MAX_LEN + rules::MAX_CHANNEL + 2;

/// What the file at `path` says; nothing, if there is none. `trusted`: whether this user may own it.
///
/// # Errors
/// One line: the file, and why it is not believed.
pub fn read(path: &Path, trusted: impl Fn(u32) -> bool) -> Result<Vec<Erasure>, String> {
    let refused = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path);
    let file = match file {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(refused(&format!("cannot be read: {why}"))),
        Ok(file) => file,
    };
    let meta = file.metadata().map_err(|why| refused(&why))?;
    if !meta.is_file() || !trusted(meta.uid()) || meta.mode() & 0o022 != 0 {
        let (uid, mode) = (meta.uid(), meta.mode() & 0o7777);
        let why = format!("belongs to uid {uid} with mode {mode:04o}: is it askrd's own file?");
        return Err(refused(&why));
    }
    let mut text = String::new();
    let length = file.take(LONGEST + 1).read_to_string(&mut text);
    let length = length.map_err(|why| refused(&format!("cannot be read: {why}")))?;
    if length as u64 > LONGEST {
        return Err(refused(&format!("is longer than {LONGEST} bytes")));
    }
    parse(&text).map_err(|why| refused(&why))
}

/// # Errors
/// The line's number and what it must be.
pub fn parse(text: &str) -> Result<Vec<Erasure>, String> {
    let lines = text.strip_prefix(HEAD);
    let lines = lines.ok_or_else(|| format!("line 1: must be \"{}\"", HEAD.trim_end()))?;
    let mut all = Vec::new();
    for (n, line) in lines.split_terminator('\n').enumerate() {
        let erasure =
            erasure(line).ok_or_else(|| format!("line {}: must be a cursor and a channel", n + 2));
        all.push(erasure?);
        if erased::are_too_many(&all) {
            return Err(format!("has more than {MOST} channels"));
        }
    }
    Ok(all)
}

fn erasure(line: &str) -> Option<Erasure> {
    let (vector, line) = match line.split_once(' ')? {
        (vector, line) if vector.starts_with('~') => {
            (Some(Vector::parse(vector.as_bytes())?), line)
        }
        _ => (None, line),
    };
    let (cursor, name) = line.split_once(' ')?;
    rules::channel(name.as_bytes()).ok()?;
    Some(Erasure {
        channel: name.into(),
        at: Cursor::parse(cursor.as_bytes())?,
        vector,
    })
}

/// Replaces the file at `path`. `ring`: the ring's file, whose readers may read this one.
///
/// # Errors
/// Then the old one is as it was.
pub fn write(path: &Path, ring: &Path, entries: &[Erasure]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    // What a killed process left.
    let _ = fs::remove_file(new);
    let done = fill(new, ring, entries).and_then(|()| fs::rename(new, path));
    if done.is_err() {
        let _ = fs::remove_file(new);
    }
    done
}

fn fill(path: &Path, ring: &Path, entries: &[Erasure]) -> io::Result<()> {
    let mut text = HEAD.to_owned();
    for erasure in entries {
        // Writing to a String cannot fail.
        if let Some(vector) = &erasure.vector {
            let _ = write!(text, "{vector} ");
        }
        let _ = writeln!(text, "{} {}", erasure.at, erasure.channel);
    }
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    let ring = fs::symlink_metadata(ring)?;
    if ring.is_file() && fchown(&file, None, Some(ring.gid())).is_ok() {
        file.set_permissions(Permissions::from_mode(0o600 | ring.mode() & 0o040))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::unistd::geteuid;
    use protocol::testing::cursor;
    use shared::vector::OriginId;

    use super::*;

    fn own(uid: u32) -> bool {
        uid == geteuid().as_raw()
    }

    #[test]
    fn what_is_written_is_read_with_the_rings_readers_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let (ring, path) = (
            directory.path().join("ring"),
            directory.path().join("ring.forgotten"),
        );
        assert_eq!(read(&path, own), Ok(vec![]));
        fs::write(&ring, "").unwrap();
        fs::set_permissions(&ring, Permissions::from_mode(0o660)).unwrap();
        fs::write(directory.path().join("ring.forgotten.new"), "half").unwrap();
        let vector = [(OriginId([7; 5]), 3)].into_iter().collect();
        let all = vec![
            Erasure::here("a channel of é", cursor(7)),
            Erasure::across("a channel of é", cursor(8), vector),
            Erasure::here("b", cursor(9)),
        ];
        write(&path, &ring, &all).unwrap();
        assert_eq!(read(&path, own), Ok(all));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        write(&path, &ring, &[]).unwrap();
        assert_eq!(read(&path, own), Ok(vec![]));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        let nowhere = directory.path().join("none/ring.forgotten");
        assert!(write(&nowhere, &ring, &[]).is_err());
    }

    #[test]
    fn what_is_not_askrds_own_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring.forgotten");
        let why = |text: &str| {
            fs::write(&path, text).unwrap();
            read(&path, own).unwrap_err()
        };
        assert!(why("").ends_with("line 1: must be \"askr forgotten 1\""));
        assert!(
            why(&format!("{HEAD}0a0b0c0d0e0f-7\n"))
                .ends_with("line 2: must be a cursor and a channel")
        );
        assert!(why(&format!("{HEAD}0a0b0c0d0e0f-7 a\n0a0b-7 a\n")).contains("line 3"));
        assert!(why(&format!("{HEAD}0a0b0c0d0e0f-7 askr:x\n")).contains("line 2"));
        assert!(why(&format!("{HEAD}~! 0a0b0c0d0e0f-7 a\n")).contains("line 2"));
        assert!(why(&"x".repeat(LONGEST as usize + 1)).contains("is longer"));
        let many: String = (0..=MOST)
            .map(|n| format!("0a0b0c0d0e0f-7 {n}\n"))
            .collect();
        assert!(why(&format!("{HEAD}{many}")).contains("more than 10000"));
        fs::write(&path, HEAD).unwrap();
        assert!(
            read(&path, |_| false)
                .unwrap_err()
                .contains("belongs to uid")
        );
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        assert!(read(&path, own).unwrap_err().contains("mode 0620"));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link, own).is_err() && read(directory.path(), own).is_err());
    }
}

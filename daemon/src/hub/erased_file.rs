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
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use shared::cursor::Cursor;
use shared::rules;
use shared::vector::Vector;

use crate::hub::erased::{self, Erasure, MOST};
use crate::process::own_file::{self, Others};

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
    let bytes = own_file::read(path, LONGEST + 1, Others::MustNotWrite, trusted);
    let bytes = match bytes.map_err(|why| refused(&why))? {
        None => return Ok(Vec::new()),
        Some(bytes) if bytes.len() as u64 > LONGEST => {
            return Err(refused(&format!("is longer than {LONGEST} bytes")));
        }
        Some(bytes) => bytes,
    };
    let text = String::from_utf8(bytes).map_err(|_| refused(&"is not UTF-8"))?;
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
    let mut text = HEAD.to_owned();
    for erasure in entries {
        // Writing to a String cannot fail.
        if let Some(vector) = &erasure.vector {
            let _ = write!(text, "{vector} ");
        }
        let _ = writeln!(text, "{} {}", erasure.at, erasure.channel);
    }
    own_file::replace(path, |mut file| {
        file.write_all(text.as_bytes())?;
        let ring = fs::symlink_metadata(ring)?;
        if ring.is_file() && fchown(&file, None, Some(ring.gid())).is_ok() {
            file.set_permissions(Permissions::from_mode(0o600 | ring.mode() & 0o040))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use protocol::testing::cursor;
    use shared::vector::OriginId;

    use super::*;
    use crate::process::own_file::own;

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

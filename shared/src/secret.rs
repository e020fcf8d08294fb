//! Secrets of an application, and the file that holds them: what PHP signs tokens with and askrd verifies
//! them by.
//!
//! ```text
//! # the first line signs, each of them verifies
//! 2026-11 6f0c…64 hexadecimal digits…
//! 2026-05 91ab…
//! ```
//!
//! One secret a line: optionally a name (the token's `kid`) and a space, then the secret. Empty lines and lines
//! that begin with `#` are ignored. A new key is put on top; the old line is removed when the last token signed
//! with it has expired.
//!
//! A secret is never shown: not by `Debug`, not in a reason for refusing the file.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::guarded_file::{self, Rules};

/// Bytes of a secret. Laravel's generator makes 20; `openssl rand -hex 32` makes 64, which is better.
pub const MIN_SECRET: usize = 20;
pub const MAX_SECRET: usize = 512;
/// Bytes of a key's name.
pub const MAX_KID: usize = 64;
/// Secrets in a file: a token without `kid` is tried with each.
pub const MAX_SECRETS: usize = 8;
/// The owner and a group may read it: PHP and askrd run as different users.
const FILE: Rules = Rules {
    max: 16 << 10,
    forbidden: 0o007,
    must: "must not be open to everybody",
    chmod: "o=",
};

/// Text that must not be shown. Overwritten in memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// # Errors
    /// What a secret must be. The text itself is not repeated.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if !(MIN_SECRET..=MAX_SECRET).contains(&text.len()) {
            return Err("a secret must be 20 to 512 bytes long");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a secret must be printable ASCII without spaces");
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// For a keyed hash only.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A secret and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSecret {
    pub kid: Option<String>,
    pub secret: Secret,
}

/// Reads a file of secrets.
///
/// # Errors
/// One line, which names the file and says what to do, never what is in it.
pub fn read(path: &Path) -> Result<Vec<NamedSecret>, String> {
    read_stamped(path).map(|(secrets, _)| secrets)
}

/// Reads a file of secrets, with a stamp that changes when the file does.
///
/// # Errors
/// As [`read`].
pub fn read_stamped(path: &Path) -> Result<(Vec<NamedSecret>, Stamp), String> {
    let at = |why: &dyn fmt::Display| format!("{}: {why}", path.display());
    let (text, meta) = guarded_file::read(path, &FILE).map_err(|why| at(&why))?;
    let secrets = parse(&text).map_err(|why| at(&why))?;
    Ok((secrets, Stamp::of(&meta)))
}

/// Reads a file with one password in its first line, of any length and any characters.
///
/// # Errors
/// As [`read`].
pub fn read_line(path: &Path) -> Result<Zeroizing<String>, String> {
    let at = |why: &dyn fmt::Display| format!("{}: {why}", path.display());
    let (text, _) = guarded_file::read(path, &FILE).map_err(|why| at(&why))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        _ => Err(at(&"its first line is empty")),
    }
}

/// Reads the text of a file of keys in another form.
///
/// # Errors
/// As [`read`].
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, String> {
    let read = guarded_file::read(path, &FILE);
    read.map(|(text, _)| text)
        .map_err(|why| format!("{}: {why}", path.display()))
}

/// Whether a file may have secrets in it, whatever else it has.
///
/// # Errors
/// A phrase that follows the file's name: why not, and what to do.
pub fn check_mode(meta: &Metadata) -> Result<(), String> {
    guarded_file::check_mode(meta, &FILE).map_err(|why| why.to_string())
}

/// The secrets of a file's text, in its order.
///
/// # Errors
/// The line's number and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<NamedSecret>, String> {
    let mut secrets: Vec<NamedSecret> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |why: &str| format!("line {}: {why}", number + 1);
        if secrets.len() == MAX_SECRETS {
            return Err(at(&format!("there may be at most {MAX_SECRETS} secrets")));
        }
        let (kid, secret) = match line.split_once([' ', '\t']) {
            Some((kid, secret)) => (Some(kid), secret.trim_start()),
            None => (None, line),
        };
        let kid = kid.map(check_kid).transpose().map_err(at)?;
        if kid.is_some() && secrets.iter().any(|other| other.kid == kid) {
            return Err(at("a name must be there once"));
        }
        let secret = Secret::new(secret).map_err(at)?;
        secrets.push(NamedSecret { kid, secret });
    }
    if secrets.is_empty() {
        return Err("holds no secret".into());
    }
    Ok(secrets)
}

/// A key's name: 1 to 64 letters, digits, `.`, `_` and `-`, so that it needs no escape in JSON.
///
/// # Errors
/// What it must be.
pub fn check_kid(kid: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if kid.is_empty() || kid.len() > MAX_KID || !kid.bytes().all(plain) {
        return Err("a key's name must be 1 to 64 letters, digits, \".\", \"_\" or \"-\"");
    }
    Ok(kid.to_owned())
}

/// Distinguishes a file from its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    changed: (i64, i64),
}

impl Stamp {
    /// # Errors
    /// If there is no such file.
    pub fn at(path: &Path) -> std::io::Result<Self> {
        std::fs::metadata(path).map(|meta| Self::of(&meta))
    }

    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            mode: meta.mode(),
            // ctime: a restored mtime does not hide a change.
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn a_file_has_names_and_secrets_in_order() {
        let secrets = parse(&format!("# today\n\n k-2 \t {B}\r\n{A}\n")).unwrap();
        assert_eq!(secrets.len(), 2);
        assert_eq!(secrets[0].kid.as_deref(), Some("k-2"));
        assert_eq!(secrets[0].secret.bytes(), B.as_bytes());
        assert_eq!(secrets[1].kid, None);
    }

    #[test]
    fn an_error_has_the_line_but_not_the_secret() {
        let nine = format!("{A}\n").repeat(9);
        for (text, why) in [
            ("", "holds no secret"),
            ("# only\n", "holds no secret"),
            ("short", "line 1: a secret must be 20 to 512 bytes long"),
            (
                &format!("\nk {A}\nk {B}"),
                "line 3: a name must be there once",
            ),
            (&format!("k\"k {A}"), "line 1: a key's name must be"),
            (&format!("k {A} more"), "line 1: a secret must be printable"),
            (&format!("{A}\u{e9}"), "line 1: a secret must be printable"),
            (&nine, "line 9: there may be at most 8"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(why), "{error}");
            assert!(
                !error.contains("aaaa") && !error.contains("bbbb"),
                "{error}"
            );
        }
    }

    #[test]
    fn debug_does_not_show_a_secret() {
        let secrets = parse(&format!("k {A}")).unwrap();
        assert!(!format!("{secrets:?}").contains("aaaa"));
    }

    #[test]
    fn a_file_open_to_everybody_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, A).unwrap();
        let mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read(&path)
        };
        for open in [0o644, 0o604, 0o662, 0o601] {
            let why = mode(open).unwrap_err();
            assert!(why.contains("must not be open to everybody"), "{why}");
        }
        assert_eq!(mode(0o640).unwrap().len(), 1);
        let before = Stamp::at(&path).unwrap();
        std::fs::write(&path, B).unwrap();
        let (secrets, stamp) = read_stamped(&path).unwrap();
        assert_eq!(secrets[0].secret.bytes(), B.as_bytes());
        assert_ne!(before, stamp);
        std::fs::write(&path, "x".repeat(17 << 10)).unwrap();
        assert!(read(&path).unwrap_err().contains("at most 16384 bytes"));
        assert!(read(dir.path()).unwrap_err().contains("must be a file"));
        assert!(
            read(&dir.path().join("none"))
                .unwrap_err()
                .contains("cannot be read")
        );
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let pipe = read(&dir.path().join("pipe")).unwrap_err();
        assert!(pipe.contains("must be a file"), "{pipe}");
    }
}

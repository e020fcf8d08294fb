//! Small files that decide about access: read only if they are regular files of bounded length that others
//! cannot tamper with.

use std::fs::{Metadata, OpenOptions};
use std::io;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

/// What a file must be.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The most bytes.
    pub max: u64,
    /// Permission bits that must not be set.
    pub forbidden: u32,
    /// What that means: "must …".
    pub must: &'static str,
    /// The argument of `chmod` that clears them.
    pub chmod: &'static str,
}

/// Why a file is not read. `Display` is a phrase that follows the file's name and never has its content.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("must be a file")]
    NotAFile,
    #[error("{} (its mode is {mode:04o}): chmod {} it", .rules.must, .rules.chmod)]
    Mode { mode: u32, rules: Rules },
    #[error("must be at most {0} bytes long")]
    TooLong(u64),
}

/// The text of a file, overwritten in memory when it is dropped.
///
/// # Errors
/// If the file breaks a rule, or cannot be read as UTF-8.
pub fn read(path: &Path, rules: &Rules) -> Result<(Zeroizing<String>, Metadata), Unusable> {
    // Without O_NONBLOCK, opening a pipe would block until there is a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let meta = file.metadata()?;
    check(&meta, rules)?;
    // Room for all of it at once: a buffer that grows would leave copies behind.
    let room = usize::try_from(meta.len()).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(rules.max).read_to_string(&mut text)?;
    Ok((text, meta))
}

fn check(meta: &Metadata, rules: &Rules) -> Result<(), Unusable> {
    if !meta.is_file() {
        return Err(Unusable::NotAFile);
    }
    check_mode(meta, rules)?;
    match meta.len() <= rules.max {
        true => Ok(()),
        false => Err(Unusable::TooLong(rules.max)),
    }
}

/// # Errors
/// If permissions are set that must not be.
pub fn check_mode(meta: &Metadata, rules: &Rules) -> Result<(), Unusable> {
    if meta.mode() & rules.forbidden == 0 {
        return Ok(());
    }
    let mode = meta.mode() & 0o777;
    let rules = *rules;
    Err(Unusable::Mode { mode, rules })
}

//! The secret that `askr_token()` signs with: the first of `askr.secret_file`, which a process reads when it
//! first signs, and again when the file changed.

use std::path::Path;

use shared::secret::{NamedSecret, Stamp, read_stamped};

/// The secret that signs, as last read.
pub struct Signer {
    stamp: Stamp,
    pub newest: NamedSecret,
}

/// Reads the file unless it is the one that was read before. Without a file nobody signs.
///
/// # Errors
/// Why the file cannot be used; nobody signs then.
pub fn refresh(signer: &mut Option<Signer>, path: Option<&Path>) -> Result<(), String> {
    let Some(path) = path else {
        *signer = None;
        return Ok(());
    };
    let stamp = Stamp::at(path).ok();
    if stamp.is_some() && signer.as_ref().map(|signer| signer.stamp) == stamp {
        return Ok(());
    }
    *signer = None;
    let (secrets, stamp) = read_stamped(path)?;
    *signer = secrets
        .into_iter()
        .next()
        .map(|newest| Signer { stamp, newest });
    Ok(())
}

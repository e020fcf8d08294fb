//! The operator's secrets. Their file is read again before it is decided by them who may sign in, and at a reload; one that
//! cannot be used leaves those of before in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use shared::secret;
use shared::secret::{Secret, Stamp};
use tokio::sync::Mutex;

/// What a file held when it was read.
#[derive(Debug, Clone)]
pub struct Reading {
    secrets: Arc<[Secret]>,
    stamp: Stamp,
}

/// # Errors
/// One line, which names the file, never what is in it.
pub fn read(file: &Path) -> Result<Reading, String> {
    let (named, stamp) = secret::read_stamped(file)?;
    Ok(Reading {
        secrets: named.into_iter().map(|named| named.secret).collect(),
        stamp,
    })
}

pub struct OperatorSecrets {
    file: PathBuf,
    known: RwLock<Reading>,
    /// The last reason why the file could not be used: each is logged once. One reads at a time.
    failure: Arc<Mutex<Option<String>>>,
}

impl OperatorSecrets {
    pub fn new(file: &Path, reading: Reading) -> Self {
        Self {
            file: file.to_owned(),
            known: RwLock::new(reading),
            failure: Arc::default(),
        }
    }

    /// Those in force, never none.
    pub fn get(&self) -> Arc<[Secret]> {
        self.known.read().secrets.clone()
    }

    /// Takes over what was read. Whether those are others.
    pub fn replace(&self, reading: Reading) -> bool {
        let mut known = self.known.write();
        let are_others = known.secrets != reading.secrets;
        *known = reading;
        are_others
    }

    /// Reads the file if it has changed. No thread waits for the disk but one that is there for it.
    pub async fn look(self: Arc<Self>) {
        let mut failure = self.failure.clone().lock_owned().await;
        let read = tokio::task::spawn_blocking(move || self.read_again(&mut failure));
        let _ = read.await;
    }

    fn read_again(&self, failure: &mut Option<String>) {
        let stamp = self.known.read().stamp;
        if Stamp::at(&self.file).is_ok_and(|now| now == stamp) {
            *failure = None;
            return;
        }
        match read(&self.file) {
            Ok(reading) => {
                *failure = None;
                if self.replace(reading) {
                    let file = self.file.display();
                    tracing::info!(
                        "dashboard: {file}: the secrets were read again, and are others"
                    );
                }
            }
            Err(why) => {
                if failure.as_ref() != Some(&why) {
                    tracing::error!("dashboard: {why}; the secrets of before stay in force");
                    *failure = Some(why);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const OLD: &str = "the-secret-of-before-it";
    const NEW: &str = "the-secret-of-after-that";

    #[tokio::test]
    async fn another_file_is_read_and_one_that_cannot_be_used_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        let write = |text: &str, mode| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        };
        write(OLD, 0o600);
        let secrets = Arc::new(OperatorSecrets::new(&file, read(&file).unwrap()));
        let is = async |text: &str| {
            secrets.clone().look().await;
            secrets.get()[..] == [Secret::new(text).unwrap()]
        };
        assert!(is(OLD).await);
        for (text, mode) in [(NEW, 0o644), ("short", 0o600), ("", 0o600)] {
            write(text, mode);
            assert!(is(OLD).await, "{text} {mode:o}");
            assert!(secrets.failure.lock().await.is_some());
        }
        write(NEW, 0o600);
        assert!(is(NEW).await);
        assert!(secrets.failure.lock().await.is_none());
        std::fs::remove_file(&file).unwrap();
        assert!(is(NEW).await);
    }

    #[test]
    fn only_others_count_as_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        let reading = |text: &str| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            read(&file).unwrap()
        };
        let secrets = OperatorSecrets::new(&file, reading(OLD));
        assert!(!secrets.replace(reading(&format!("# again\n{OLD}\n"))));
        assert!(secrets.replace(reading(&format!("{NEW}\n{OLD}\n"))));
    }
}

//! Socket ids: what `except` and `toOthers` leave out, and the secret by which a stream proves that an
//! id is its own.
//!
//! An id is `DIGITS.DIGITS` (Laravel refuses anything else), 128 random bits. It is no secret: a page
//! sends it to its application with each request. So a stream is also told `SECONDS-CODE`: when it was
//! made, and the HMAC of the id and that time. Nothing has to be stored to check it, and no other page
//! can make one.
//!
//! The key is derived from the application's secret, so a daemon that was restarted (or another one,
//! after a move) still knows the ids it told before. Without a secret it is random, and after a restart
//! a page simply gets a new id. An application whose secret is changed keeps the old one in its file for
//! a while; codes made by it are taken as long.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::secret::Secret;

use crate::auth::mac;

/// Seconds after which an earlier id is not taken back when a client resumes: one day.
pub const RESUME_WITHIN: u64 = 24 * 3600;
/// Keeps this key apart from what else the secret signs.
const PURPOSE: &[u8] = b"askr: proof of a socket id, 1";

/// A new socket id.
///
/// # Errors
/// If the system has no random numbers.
pub fn new() -> Result<String, getrandom::Error> {
    Ok(format!("{}.{}", getrandom::u64()?, getrandom::u64()?))
}

/// Whether a text has the shape of the ids made here: two numbers of 64 bits.
pub fn is_shaped(id: &str) -> bool {
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u64>().is_ok();
    id.split_once('.')
        .is_some_and(|(a, b)| number(a) && number(b))
}

/// Makes and checks the proofs of one application.
pub struct Prover {
    keys: Vec<[u8; mac::BYTES]>,
    app: String,
}

impl Prover {
    /// # Errors
    /// If there is no secret and the system has no random numbers.
    pub fn new(app: &str, secrets: &[Secret]) -> Result<Self, getrandom::Error> {
        let mut keys: Vec<_> = secrets
            .iter()
            .map(|secret| mac::sign(secret.bytes(), &[PURPOSE]))
            .collect();
        if keys.is_empty() {
            let mut key = [0; mac::BYTES];
            getrandom::fill(&mut key)?;
            keys.push(key);
        }
        let app = app.to_owned();
        Ok(Self { keys, app })
    }

    /// The proof told with an id at `now`, in seconds since 1970.
    pub fn prove(&self, id: &str, now: u64) -> String {
        let code = mac::sign(&self.keys[0], &self.text(id, &now.to_string()));
        format!("{now}-{}", URL_SAFE_NO_PAD.encode(code))
    }

    /// Whether `proof` was made for this id, and for a resume not longer ago than `within` seconds. A
    /// stream that is still open may use the one it was told however old it is: `within` None.
    pub fn accepts(&self, id: &str, proof: &str, now: u64, within: Option<u64>) -> bool {
        let Some((made, code)) = proof
            .split_once('-')
            .filter(|_| proof.len() <= 64 && is_shaped(id))
        else {
            return false;
        };
        let Ok(code) = URL_SAFE_NO_PAD.decode(code) else {
            return false;
        };
        let text = self.text(id, made);
        if !self.keys.iter().any(|key| mac::verify(key, &text, &code)) {
            return false;
        }
        let age = made.parse::<u64>().map(|made| now.saturating_sub(made));
        within.is_none_or(|within| age.is_ok_and(|age| age <= within))
    }

    /// Ids and times have no line breaks, so the parts cannot be taken for one another.
    fn text<'a>(&'a self, id: &'a str, made: &'a str) -> [&'a [u8]; 5] {
        [
            id.as_bytes(),
            b"\n",
            made.as_bytes(),
            b"\n",
            self.app.as_bytes(),
        ]
    }
}

impl std::fmt::Debug for Prover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prover")
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(letter: &str) -> Secret {
        Secret::new(&letter.repeat(32)).unwrap()
    }

    fn prover(letters: &[&str]) -> Prover {
        let secrets: Vec<_> = letters.iter().map(|letter| secret(letter)).collect();
        Prover::new("shop", &secrets).unwrap()
    }

    #[test]
    fn ids_are_two_numbers_and_never_the_same() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new().unwrap()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| is_shaped(id)));
        for bad in [
            "",
            "1",
            "1.",
            ".1",
            "1.2.3",
            "+1.2",
            "1.-2",
            "1. 2",
            "1.99999999999999999999",
        ] {
            assert!(!is_shaped(bad), "{bad}");
        }
    }

    #[test]
    fn a_proof_is_for_its_id_and_application_alone() {
        let prover = prover(&["a"]);
        let proof = prover.prove("1.2", 1000);
        let day = Some(RESUME_WITHIN);
        assert!(prover.accepts("1.2", &proof, 1000, day));
        assert!(!prover.accepts("1.3", &proof, 1000, day));
        let other = Prover::new("other", &[secret("a")]).unwrap();
        assert!(!other.accepts("1.2", &proof, 1000, day));
        let redated = proof.replace("1000-", "1001-");
        assert!(!prover.accepts("1.2", &redated, 1000, day));
        for end in 0..proof.len() {
            assert!(!prover.accepts("1.2", &proof[..end], 1000, day), "{end}");
        }
        assert!(!prover.accepts("1.2", &"-".repeat(10_000), 1000, day));
    }

    #[test]
    fn it_holds_across_a_restart_and_for_a_day() {
        let proof = prover(&["a"]).prove("1.2", 1000);
        let after = prover(&["b", "a"]);
        let day = Some(RESUME_WITHIN);
        assert!(after.accepts("1.2", &proof, 1000 + RESUME_WITHIN, day));
        assert!(!after.accepts("1.2", &proof, 1001 + RESUME_WITHIN, day));
        assert!(after.accepts("1.2", &proof, u64::MAX, None));
        assert!(!prover(&["b"]).accepts("1.2", &proof, 1000, day));
    }

    #[test]
    fn without_a_secret_the_key_is_random() {
        let (one, two) = (prover(&[]), prover(&[]));
        let proof = one.prove("1.2", 1000);
        assert!(one.accepts("1.2", &proof, 1000, None));
        assert!(!two.accepts("1.2", &proof, 1000, None));
        assert_eq!(format!("{one:?}"), r#"Prover { app: "shop", .. }"#);
    }
}

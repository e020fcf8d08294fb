//! Socket ids, which `except` and `toOthers` exclude, and the secret that proves that an id belongs to a stream.
//!
//! An id is `DIGITS.DIGITS` (Laravel accepts nothing else), 64 bits. It is not secret: a page sends it to its
//! application with each request. So a stream is also sent the proof `SECONDS-WORKER-SLOT-CODE`: when it was
//! issued, where the stream is held, and the HMAC of these and the id. Where there are several hosts, WORKER is
//! `NODE.WORKER`. It is checked without stored state, no
//! other page can forge it, and it leads straight to the stream.
//!
//! The key is derived from the application's secret, so a daemon that was restarted (or another one, after a
//! move) accepts the proofs issued before. Without a secret the key is random, and after a restart a page gets
//! a new id. During a rotation the old secret stays in the application's file; proofs by it are accepted for
//! that long.
//!
//! A browser's EventSource reconnects with the same URL, so it cannot send the id it had. A page that names a
//! *session*, a random text of its own making, gets the id derived from it each time.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::grant;
use shared::secret::Secret;
use shared::vector::OriginId;

use crate::mac;

/// Seconds after which a client cannot resume with an earlier id: one day.
const RESUME_WITHIN: u64 = 24 * 3600;
/// The length of a session in characters: a `crypto.randomUUID()` fits.
pub const SESSION: std::ops::RangeInclusive<usize> = 16..=64;
/// Characters of a code.
const CODE: usize = (mac::BYTES * 4).div_ceil(3);
/// These separate the keys from everything else that the secret signs, and from each other.
const PROOF: &[u8] = b"askr: proof of a socket id, 2";
const DERIVED: &[u8] = b"askr: socket id of a session, 1";

/// The id of one stream's connection. `Display` and `FromStr`: two numbers of 32 bits with a dot between them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId(u64);

impl SocketId {
    /// A random id.
    ///
    /// # Errors
    /// If the system's random number generator fails.
    pub fn random() -> Result<Self, getrandom::Error> {
        RANDOM.with_borrow_mut(Random::next).map(Self)
    }
}

thread_local! {
    static RANDOM: RefCell<Random> = const {
        RefCell::new(Random { bytes: [0; RANDOM_BYTES], used: RANDOM_BYTES })
    };
}

/// Random bytes of the system that are asked for at once: a system call for each id would be a noticeable part of what a
/// connection costs.
const RANDOM_BYTES: usize = 1024;

/// What the system gave, in order, each byte used once. No generator of our own: ids are as unpredictable as the
/// system's numbers.
struct Random {
    bytes: [u8; RANDOM_BYTES],
    used: usize,
}

impl Random {
    fn next(&mut self) -> Result<u64, getrandom::Error> {
        if self.used == RANDOM_BYTES {
            getrandom::fill(&mut self.bytes)?;
            self.used = 0;
        }
        let mut number = [0; size_of::<u64>()];
        let place = self.used..self.used + number.len();
        number.copy_from_slice(&self.bytes[place.clone()]);
        // What was given out is not kept.
        self.bytes[place].fill(0);
        self.used += number.len();
        Ok(u64::from_ne_bytes(number))
    }
}

impl SocketId {
    /// Appends its text.
    pub fn append(self, out: &mut Vec<u8>) {
        number(out, self.0 >> 32);
        out.push(b'.');
        number(out, self.0 & 0xffff_ffff);
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Exactly what `Display` writes: two numbers of 32 bits without leading zeros.
impl FromStr for SocketId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (high, low) = grant::socket_id(text).ok_or(())?;
        Ok(Self(u64::from(high) << 32 | u64::from(low)))
    }
}

/// Where a stream is held: its worker, and its slot there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub worker: usize,
    pub slot: u32,
}

/// The same among several hosts. `node`: None where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub node: Option<OriginId>,
    pub place: Place,
}

impl From<Place> for Held {
    fn from(place: Place) -> Self {
        Self { node: None, place }
    }
}

impl Held {
    /// Appends `NODE.WORKER-SLOT`, or without a node.
    fn append(self, out: &mut Vec<u8>) {
        if let Some(node) = self.node {
            out.extend_from_slice(node.to_string().as_bytes());
            out.push(b'.');
        }
        number(out, self.place.worker);
        out.push(b'-');
        number(out, self.place.slot);
    }

    /// Where the worker is, and the slot.
    fn parse(worker: &str, slot: &str) -> Option<Self> {
        let (node, worker) = match worker.split_once('.') {
            Some((node, worker)) => (Some(OriginId::parse(node.as_bytes())?), worker),
            None => (None, worker),
        };
        let place = Place {
            worker: worker.parse().ok()?,
            slot: slot.parse().ok()?,
        };
        Some(Self { node, place })
    }
}

/// Issues and checks the proofs of one application.
pub struct Prover {
    keys: Vec<mac::Key>,
    session: [u8; mac::BYTES],
    app: String,
}

impl Prover {
    /// The prover of the application with the id `app`. `secrets`: newest first; none is allowed.
    ///
    /// # Errors
    /// If the system's random number generator fails.
    pub fn new(app: &str, secrets: &[Secret]) -> Result<Self, getrandom::Error> {
        let mut random = [0; mac::BYTES];
        getrandom::fill(&mut random)?;
        let mut keys: Vec<_> = secrets
            .iter()
            .map(|secret| mac::Key::new(&mac::sign(secret.bytes(), &[PROOF])))
            .collect();
        if keys.is_empty() {
            keys.push(mac::Key::new(&random));
        }
        // From the oldest secret, so that adding a new one changes no id.
        let oldest = secrets.last().map_or(&random[..], Secret::bytes);
        Ok(Self {
            keys,
            session: mac::sign(oldest, &[DERIVED]),
            app: app.to_owned(),
        })
    }

    /// The id derived from a session. The same one each time, until the oldest secret changes.
    pub fn of_session(&self, session: &str) -> SocketId {
        let code = mac::sign(
            &self.session,
            &[self.app.as_bytes(), b"\n", session.as_bytes()],
        );
        let (first, _) = code.split_first_chunk().expect("32 bytes");
        SocketId(u64::from_be_bytes(*first))
    }

    /// The proof of an id, issued at `now`, in seconds since 1970.
    pub fn prove(&self, id: SocketId, held: impl Into<Held>, now: u64) -> Proof<'_> {
        Proof {
            prover: self,
            id,
            held: held.into(),
            now,
        }
    }

    /// Where the stream with this proof is held. None: the proof is not one of this id.
    pub fn place(&self, id: SocketId, proof: &str) -> Option<Held> {
        self.read(id, proof).map(|(_, held)| held)
    }

    /// Whether a client with this proof may resume with the id at `now`, in seconds since 1970.
    pub fn resumes(&self, id: SocketId, proof: &str, now: u64) -> bool {
        let made = self.read(id, proof).map(|(made, _)| made);
        made.is_some_and(|made| now.saturating_sub(made) <= RESUME_WITHIN)
    }

    fn read(&self, id: SocketId, proof: &str) -> Option<(u64, Held)> {
        if proof.len() > 128 {
            return None;
        }
        // The code itself may contain dashes.
        let mut parts = proof.splitn(4, '-');
        let (made, worker, slot) = (parts.next()?, parts.next()?, parts.next()?);
        let code = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        // Ids and claims have no line breaks, so its parts cannot be confused.
        let text = format!("{id}\n{made}-{worker}-{slot}\n{}", self.app);
        let by = |key: &mac::Key| key.verify(text.as_bytes(), &code);
        if !self.keys.iter().any(by) {
            return None;
        }
        Some((made.parse().ok()?, Held::parse(worker, slot)?))
    }
}

/// The proof of an id. Its text is made as it is written.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    prover: &'a Prover,
    id: SocketId,
    held: Held,
    now: u64,
}

impl Proof<'_> {
    /// Appends its text. Each stream is sent one: what is signed is written where the proof is to be, and becomes it.
    pub fn append(&self, out: &mut Vec<u8>) {
        let Self {
            prover,
            id,
            held,
            now,
        } = self;
        let begins = out.len();
        id.append(out);
        out.push(b'\n');
        let proof = out.len();
        number(out, *now);
        out.push(b'-');
        held.append(out);
        let ends = out.len();
        out.push(b'\n');
        out.extend_from_slice(prover.app.as_bytes());
        let code = prover.keys[0].sign(&out[begins..]);
        out.truncate(ends);
        out.drain(begins..proof);
        out.push(b'-');
        let mut text = [0; CODE];
        let length = URL_SAFE_NO_PAD.encode_slice(code, &mut text);
        out.extend_from_slice(&text[..length.expect("as long as the code is")]);
    }
}

impl fmt::Display for Proof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(128);
        self.append(&mut text);
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover")
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = Place { worker: 3, slot: 7 };

    fn secret(letter: &str) -> Secret {
        Secret::new(&letter.repeat(32)).unwrap()
    }

    fn prover(letters: &[&str]) -> Prover {
        let secrets: Vec<_> = letters.iter().map(|letter| secret(letter)).collect();
        Prover::new("shop", &secrets).unwrap()
    }

    fn id(text: &str) -> SocketId {
        text.parse().unwrap()
    }

    #[test]
    fn ids_are_two_numbers_and_unique() {
        let ids: std::collections::HashSet<_> =
            (0..1000).map(|_| SocketId::random().unwrap()).collect();
        assert_eq!(ids.len(), 1000);
        for one in ids {
            assert_eq!(one.to_string().parse(), Ok(one));
            let mut text = Vec::new();
            one.append(&mut text);
            assert_eq!(text, one.to_string().as_bytes());
        }
        for bad in [
            "",
            "1",
            "1.",
            ".1",
            "1.2.3",
            "+1.2",
            "1.-2",
            "1. 2",
            "01.2",
            "1.00",
            "1.4294967296",
        ] {
            assert_eq!(bad.parse::<SocketId>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_proof_is_for_its_id_and_application_alone() {
        let prover = prover(&["a"]);
        let proof = prover.prove(id("1.2"), HERE, 1000).to_string();
        // HMAC-SHA256 of "1.2\n1000-3-7\nshop" with HMAC-SHA256(secret, PROOF): other versions issue the same.
        assert_eq!(
            proof,
            "1000-3-7-vgcNe1GylzILqQ0BUJAVPJ9t4evLrtH4d_vD5tFM6cQ"
        );
        assert_eq!(prover.place(id("1.2"), &proof), Some(HERE.into()));
        assert_eq!(prover.place(id("1.3"), &proof), None);
        let other = Prover::new("other", &[secret("a")]).unwrap();
        assert_eq!(other.place(id("1.2"), &proof), None);
        for forged in [
            proof.replace("1000-", "1001-"),
            proof.replace("-3-", "-4-"),
            proof.replace("-7-", "-8-"),
        ] {
            assert_eq!(prover.place(id("1.2"), &forged), None);
        }
        for end in 0..proof.len() {
            assert_eq!(prover.place(id("1.2"), &proof[..end]), None, "{end}");
        }
        assert_eq!(prover.place(id("1.2"), &"-".repeat(10_000)), None);
    }

    #[test]
    fn a_proof_is_valid_across_a_restart_and_for_a_day() {
        let proof = prover(&["a"]).prove(id("1.2"), HERE, 1000).to_string();
        let after = prover(&["b", "a"]);
        assert!(after.resumes(id("1.2"), &proof, 1000 + RESUME_WITHIN));
        assert!(!after.resumes(id("1.2"), &proof, 1001 + RESUME_WITHIN));
        assert!(!prover(&["b"]).resumes(id("1.2"), &proof, 1000));
    }

    #[test]
    fn a_session_has_the_same_id_after_a_restart_and_in_no_other_application() {
        let page = "0b4f6f0e-5f0c-4f57-9c9e-2f7d9f6f9a11";
        let one = prover(&["a"]).of_session(page);
        assert_eq!(prover(&["a"]).of_session(page), one);
        assert_eq!(prover(&["b", "a"]).of_session(page), one);
        let other = Prover::new("other", &[secret("a")]).unwrap();
        assert_ne!(other.of_session(page), one);
        assert_ne!(prover(&["a"]).of_session(&page.replace('0', "1")), one);
    }

    #[test]
    fn a_proof_names_the_node_where_there_are_several() {
        let prover = prover(&["a"]);
        let held = Held {
            node: Some(OriginId([0xab, 0, 1, 2, 0xff])),
            place: HERE,
        };
        let proof = prover.prove(id("1.2"), held, 1000).to_string();
        assert!(proof.starts_with("1000-ab000102ff.3-7-"), "{proof}");
        assert_eq!(prover.place(id("1.2"), &proof), Some(held));
        let forged = proof.replace("ab000102ff.", "");
        assert_eq!(prover.place(id("1.2"), &forged), None);
    }

    #[test]
    fn without_a_secret_the_key_is_random() {
        let (one, two) = (prover(&[]), prover(&[]));
        let proof = one.prove(id("1.2"), HERE, 1000).to_string();
        assert_eq!(one.place(id("1.2"), &proof), Some(HERE.into()));
        assert_eq!(two.place(id("1.2"), &proof), None);
        assert_eq!(format!("{one:?}"), r#"Prover { app: "shop", .. }"#);
    }
}

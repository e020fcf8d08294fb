//! The operator's secret and what it opens: a login whose tries are limited, and a session in a cookie that only this
//! secret can have made. Nothing is kept of a session, so it outlives a restart, and ends when the secret is changed.

use std::collections::HashMap;

use protocol::mac;
use shared::secret::Secret;

use crate::process::client_key::ClientKey;

/// Seconds that a session lasts.
pub const SESSION: u64 = 12 * 3600;
/// Failed tries in [`PERIOD`] seconds: of one client address, and of all together.
const TRIES: u32 = 5;
const TRIES_OF_ALL: u32 = 50;
const PERIOD: u64 = 60;
/// Addresses that tries are remembered of; those of more count for all together.
const ADDRESSES: usize = 1024;
/// What is signed, so that no other signature with the same secret is a session.
const PURPOSE: &[u8] = b"askr dashboard session\n";
/// The cookie's name.
pub const COOKIE: &str = "askr_dashboard";

pub struct Login {
    /// Those of the file; a session is made with the first.
    secrets: Vec<Secret>,
    /// For comparing in constant time.
    key: [u8; 32],
    tries: Tries,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Tried {
    /// The value of the cookie.
    Session(String),
    Wrong,
    /// Too many were wrong: nothing is compared.
    TooMany,
}

#[derive(Debug, Default)]
struct Tries {
    began: u64,
    of_all: u32,
    of: HashMap<ClientKey, u32>,
}

impl Login {
    /// # Errors
    /// If the system has no random numbers.
    pub fn new(secrets: Vec<Secret>) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            secrets,
            key,
            tries: Tries::default(),
        })
    }

    /// Somebody shows a secret. `now`: seconds since 1970.
    pub fn attempt(&mut self, from: ClientKey, given: &str, now: u64) -> Tried {
        if self.tries.are_used_up(from, now) {
            return Tried::TooMany;
        }
        let own = mac::sign(&self.key, &[given.as_bytes()]);
        let is = |secret: &Secret| mac::verify(&self.key, &[secret.bytes()], &own);
        // All are compared: the time says nothing of which it was.
        match self.secrets.iter().filter(|secret| is(secret)).count() {
            0 => {
                self.tries.failed(from);
                Tried::Wrong
            }
            _ => Tried::Session(session(&self.secrets[0], now + SESSION)),
        }
    }

    /// Until when a session with this cookie lasts. None: it is none, or has ended.
    pub fn session(&self, cookie: &str, now: u64) -> Option<u64> {
        let (until, code) = cookie.split_once('.')?;
        // As it was written: no sign, no zeros before it.
        let ends: u64 = until
            .parse()
            .ok()
            .filter(|ends: &u64| ends.to_string() == until)?;
        let code: [u8; mac::BYTES] = mac::from_hex(code)?;
        let parts = [PURPOSE, until.as_bytes()];
        let by = |secret: &Secret| mac::verify(secret.bytes(), &parts, &code);
        (ends > now && ends <= now + SESSION && self.secrets.iter().any(by)).then_some(ends)
    }
}

fn session(secret: &Secret, until: u64) -> String {
    let until = until.to_string();
    let code = mac::sign(secret.bytes(), &[PURPOSE, until.as_bytes()]);
    format!("{until}.{}", mac::hex(&code))
}

/// The session's cookies among those of a request: there may be another of the name, which another site of the domain set.
pub fn cookies_of(header: &str) -> impl Iterator<Item = &str> {
    let each = header.split(';').map(str::trim);
    let own = each.filter_map(|pair| pair.split_once('='));
    own.filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

impl Tries {
    fn are_used_up(&mut self, from: ClientKey, now: u64) -> bool {
        if now < self.began || now - self.began >= PERIOD {
            *self = Self {
                began: now,
                ..Self::default()
            };
        }
        self.of_all >= TRIES_OF_ALL || self.of.get(&from).is_some_and(|tries| *tries >= TRIES)
    }

    fn failed(&mut self, from: ClientKey) {
        self.of_all += 1;
        if self.of.len() < ADDRESSES || self.of.contains_key(&from) {
            *self.of.entry(from).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::client_key::testing::client;

    const OWN: &str = "0123456789abcdefghij";
    const BEFORE: &str = "jihgfedcba9876543210";

    fn login(secrets: &[&str]) -> Login {
        Login::new(secrets.iter().map(|s| Secret::new(s).unwrap()).collect()).unwrap()
    }

    #[test]
    fn only_the_secret_makes_a_session_which_ends_and_outlives_a_restart() {
        let mut one = login(&[OWN, BEFORE]);
        assert_eq!(one.attempt(client(1), "wrong", 1000), Tried::Wrong);
        assert_eq!(one.attempt(client(1), "", 1000), Tried::Wrong);
        for secret in [OWN, BEFORE] {
            let Tried::Session(cookie) = one.attempt(client(1), secret, 1000) else {
                panic!("{secret}")
            };
            let ends = 1000 + SESSION;
            assert_eq!(login(&[OWN]).session(&cookie, 1000), Some(ends));
            assert_eq!(one.session(&cookie, ends - 1), Some(ends));
            assert_eq!(one.session(&cookie, ends), None);
            assert_eq!(one.session(&cookie, 0), None, "not from the future");
            assert_eq!(login(&[BEFORE]).session(&cookie, 1000), None);
        }
    }

    #[test]
    fn what_was_changed_is_no_session() {
        let one = login(&[OWN]);
        let cookie = session(&one.secrets[0], 2000);
        assert_eq!(one.session(&cookie, 1000), Some(2000));
        let (until, code) = cookie.split_once('.').unwrap();
        for changed in [
            format!("2001.{code}"),
            format!("02000.{code}"),
            format!("+2000.{code}"),
            format!("{until}.{}", &code[1..]),
            format!("{until}."),
            until.to_owned(),
            String::new(),
        ] {
            assert_eq!(one.session(&changed, 1000), None, "{changed}");
        }
    }

    #[test]
    fn tries_are_limited_for_each_address_and_for_all() {
        let mut one = login(&[OWN]);
        for _ in 0..TRIES {
            assert_eq!(one.attempt(client(1), "wrong", 1000), Tried::Wrong);
        }
        assert_eq!(one.attempt(client(1), OWN, 1059), Tried::TooMany);
        assert!(matches!(
            one.attempt(client(2), OWN, 1059),
            Tried::Session(_)
        ));
        assert!(matches!(
            one.attempt(client(1), OWN, 1060),
            Tried::Session(_)
        ));
        for n in 0..TRIES_OF_ALL {
            assert_eq!(one.attempt(client(n as u8), "wrong", 1060), Tried::Wrong);
        }
        assert_eq!(one.attempt(client(200), OWN, 1060), Tried::TooMany);
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let of = |header| cookies_of(header).collect::<Vec<&str>>();
        assert_eq!(of("a=b; askr_dashboard=1.2;c=d"), ["1.2"]);
        assert_eq!(of("askr_dashboard=x; askr_dashboard=1.2"), ["x", "1.2"]);
        assert_eq!(of("xaskr_dashboard=1.2"), [""; 0]);
    }
}

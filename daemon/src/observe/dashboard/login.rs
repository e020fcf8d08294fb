//! What the operator's secret opens: a login whose tries are limited, and a session in a cookie that only this secret can have
//! made. Nothing is kept of a session, so it outlives a restart, and ends when the secret is changed.

use std::collections::{HashMap, HashSet};

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
/// Addresses of which it is said in that time that they have tried too often.
const TOLD: usize = 16;
/// What is signed, so that no other signature with the same secret is a session.
const PURPOSE: &[u8] = b"askr dashboard session\n";
/// What the cookie's name begins with. The rest is the port that the browser knows: cookies are those of a host, whatever
/// the port, so that two dashboards of one host would sign each other out.
const COOKIE: &str = "askr_dashboard";
/// A browser takes a cookie of this name only from the host itself, and by TLS (RFC 6265bis).
const BY_TLS: &str = "__Host-";

#[derive(Debug)]
pub struct Login {
    /// For comparing in constant time.
    key: [u8; 32],
    tries: Tries,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Tried {
    /// The value of the cookie.
    Session(String),
    Wrong,
    TooMany(TooMany),
}

/// Too many were wrong: nothing is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// Whether it is to be logged.
    pub is_news: bool,
}

#[derive(Debug, Default)]
struct Tries {
    began: u64,
    of_all: u32,
    of: HashMap<ClientKey, u32>,
    told: HashSet<ClientKey>,
}

impl Login {
    /// # Errors
    /// If the system has no random numbers.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            key,
            tries: Tries::default(),
        })
    }

    /// Whether this client may try. `now`: seconds since 1970.
    ///
    /// # Errors
    /// If too many were wrong.
    pub fn may_try(&mut self, from: ClientKey, now: u64) -> Result<(), TooMany> {
        self.tries.check(from, now)
    }

    /// Somebody shows a secret, which is to be one of `secrets`; a session is made with the first of them.
    pub fn attempt(&mut self, secrets: &[Secret], from: ClientKey, given: &str, now: u64) -> Tried {
        if let Err(too_many) = self.tries.check(from, now) {
            return Tried::TooMany(too_many);
        }
        let own = mac::sign(&self.key, &[given.as_bytes()]);
        let is = |secret: &&Secret| mac::verify(&self.key, &[secret.bytes()], &own);
        // All are compared: the time says nothing of which it was.
        match (secrets.first(), secrets.iter().filter(is).count()) {
            (Some(first), 1..) => Tried::Session(sign(first, now + SESSION)),
            _ => {
                self.tries.failed(from);
                Tried::Wrong
            }
        }
    }
}

/// Until when a session with this cookie lasts. None: it is none, or has ended.
pub fn session(secrets: &[Secret], cookie: &str, now: u64) -> Option<u64> {
    let (until, code) = cookie.split_once('.')?;
    // As it was written: no sign, no zeros before it.
    let ends: u64 = until
        .parse()
        .ok()
        .filter(|ends: &u64| ends.to_string() == until)?;
    let code: [u8; mac::BYTES] = mac::from_hex(code)?;
    let parts = [PURPOSE, until.as_bytes()];
    let by = |secret: &Secret| mac::verify(secret.bytes(), &parts, &code);
    (ends > now && ends <= now + SESSION && secrets.iter().any(by)).then_some(ends)
}

fn sign(secret: &Secret, until: u64) -> String {
    let until = until.to_string();
    let code = mac::sign(secret.bytes(), &[PURPOSE, until.as_bytes()]);
    format!("{until}.{}", mac::hex(&code))
}

/// The names of the cookie, of which each dashboard of a host has its own: by TLS, and without. `port`: that of the browser.
pub fn names(port: Option<u16>) -> [String; 2] {
    let name = match port {
        Some(port) => format!("{COOKIE}_{port}"),
        None => COOKIE.to_owned(),
    };
    [format!("{BY_TLS}{name}"), name]
}

/// Values of cookies of this name among those of a request: there may be another one, which another site of the domain set.
pub fn cookies_of<'a>(header: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let each = header.split(';').map(str::trim);
    let own = each.filter_map(|pair| pair.split_once('='));
    own.filter(move |(own, _)| *own == name)
        .map(|(_, value)| value)
}

impl Tries {
    fn check(&mut self, from: ClientKey, now: u64) -> Result<(), TooMany> {
        if now < self.began || now - self.began >= PERIOD {
            *self = Self {
                began: now,
                ..Self::default()
            };
        }
        let are_used_up =
            self.of_all >= TRIES_OF_ALL || self.of.get(&from).is_some_and(|tries| *tries >= TRIES);
        match are_used_up {
            true => Err(TooMany {
                is_news: self.told.len() < TOLD && self.told.insert(from),
            }),
            false => Ok(()),
        }
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

    fn secrets(all: &[&str]) -> Vec<Secret> {
        all.iter().map(|text| Secret::new(text).unwrap()).collect()
    }

    #[test]
    fn only_the_secret_makes_a_session_which_ends_and_outlives_a_restart() {
        let (mut one, both) = (Login::new().unwrap(), secrets(&[OWN, BEFORE]));
        assert_eq!(one.attempt(&both, client(1), "wrong", 1000), Tried::Wrong);
        assert_eq!(one.attempt(&both, client(1), "", 1000), Tried::Wrong);
        for secret in [OWN, BEFORE] {
            let Tried::Session(cookie) = one.attempt(&both, client(1), secret, 1000) else {
                panic!("{secret}")
            };
            let ends = 1000 + SESSION;
            assert_eq!(session(&secrets(&[OWN]), &cookie, 1000), Some(ends));
            assert_eq!(session(&both, &cookie, ends - 1), Some(ends));
            assert_eq!(session(&both, &cookie, ends), None);
            assert_eq!(session(&both, &cookie, 0), None, "not from the future");
            assert_eq!(session(&secrets(&[BEFORE]), &cookie, 1000), None);
        }
        assert_eq!(one.attempt(&[], client(1), "", 1000), Tried::Wrong);
    }

    #[test]
    fn what_was_changed_is_no_session() {
        let own = secrets(&[OWN]);
        let cookie = sign(&own[0], 2000);
        assert_eq!(session(&own, &cookie, 1000), Some(2000));
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
            assert_eq!(session(&own, &changed, 1000), None, "{changed}");
        }
    }

    #[test]
    fn tries_are_limited_for_each_address_and_for_all() {
        let (mut one, own) = (Login::new().unwrap(), secrets(&[OWN]));
        let mut attempt = |n, given, now| one.attempt(&own, client(n), given, now);
        for _ in 0..TRIES {
            assert_eq!(attempt(1, "wrong", 1000), Tried::Wrong);
        }
        let too_many = |is_news| Tried::TooMany(TooMany { is_news });
        assert_eq!(attempt(1, OWN, 1059), too_many(true));
        assert_eq!(attempt(1, OWN, 1059), too_many(false), "it was said");
        assert!(matches!(attempt(2, OWN, 1059), Tried::Session(_)));
        assert!(matches!(attempt(1, OWN, 1060), Tried::Session(_)));
        for n in 0..TRIES_OF_ALL {
            assert_eq!(attempt(n as u8, "wrong", 1060), Tried::Wrong);
        }
        let said = (100..200).filter(|n| attempt(*n, OWN, 1060) == too_many(true));
        assert_eq!(said.count(), TOLD, "however many addresses there are");
        assert_eq!(
            one.may_try(client(201), 1119),
            Err(TooMany { is_news: false })
        );
        assert_eq!(one.may_try(client(201), 1120), Ok(()));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let of = |header| cookies_of(header, "askr_dashboard").collect::<Vec<&str>>();
        assert_eq!(of("a=b; askr_dashboard=1.2;c=d"), ["1.2"]);
        assert_eq!(of("askr_dashboard=x; askr_dashboard=1.2"), ["x", "1.2"]);
        assert_eq!(of("xaskr_dashboard=1.2; askr_dashboard_1=1.2"), [""; 0]);
    }

    #[test]
    fn each_port_has_a_cookie_of_its_own() {
        assert_eq!(names(None), ["__Host-askr_dashboard", "askr_dashboard"]);
        let of_port = ["__Host-askr_dashboard_8091", "askr_dashboard_8091"];
        assert_eq!(names(Some(8091)), of_port);
    }
}

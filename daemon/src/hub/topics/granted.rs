//! Patterns that subscribers were granted: each is held once for all of them, and all within a bound of bytes.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::mercure::matcher::Matcher;

/// What one takes beside itself: its name and its place in a table that has just doubled.
const ENTRY: usize = 512;

/// Those of one application, by their names.
#[derive(Debug)]
pub struct Granted {
    /// Bytes.
    most: usize,
    bytes: usize,
    held: HashMap<Arc<str>, (Matcher, usize)>,
}

impl Granted {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            bytes: 0,
            held: HashMap::new(),
        }
    }

    pub fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// One more who was granted this pattern; the one that is held takes its place. None: there is no room.
    pub fn hold(&mut self, name: &str, pattern: &mut Matcher) -> Option<Arc<str>> {
        if let Some((name, _)) = self.held.get_key_value(name) {
            let name = name.clone();
            let (known, count) = self.held.get_mut(&name)?;
            *count += 1;
            *pattern = known.clone();
            return Some(name);
        }
        let bytes = self.bytes + ENTRY + pattern.memory();
        if bytes > self.most {
            return None;
        }
        self.bytes = bytes;
        let name: Arc<str> = name.into();
        self.held.insert(name.clone(), (pattern.clone(), 1));
        Some(name)
    }

    /// One less.
    pub fn release(&mut self, name: &str) {
        let Some((pattern, count)) = self.held.get_mut(name) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.bytes -= ENTRY + pattern.memory();
            self.held.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::mercure::hub_url::HubUrl;
    use protocol::mercure::matcher::Kind;

    use super::*;

    #[test]
    fn a_pattern_is_held_once_while_somebody_has_it_and_as_far_as_there_is_room() {
        let pattern = |n: usize| {
            Matcher::parse(Kind::UrlPattern, &format!("/{n}/:a/x"), &HubUrl::standard()).unwrap()
        };
        let one = ENTRY + pattern(0).memory();
        let mut granted = Granted::new(2 * one);
        let hold = |granted: &mut Granted, n: usize| {
            granted.hold(&n.to_string(), &mut pattern(n)).is_some()
        };
        assert!(hold(&mut granted, 0) && hold(&mut granted, 0) && hold(&mut granted, 1));
        assert!(!hold(&mut granted, 2));
        assert_eq!((granted.bytes, granted.held.len()), (2 * one, 2));
        granted.release("0");
        assert!(!hold(&mut granted, 2), "one has it still");
        granted.release("0");
        granted.release("2");
        assert!(hold(&mut granted, 2));
        // Who has more keeps it.
        granted.set_most(0);
        assert!(hold(&mut granted, 2) && !hold(&mut granted, 0));
        for name in ["1", "2", "2"] {
            granted.release(name);
        }
        assert_eq!((granted.bytes, granted.held.len()), (0, 0));
    }
}

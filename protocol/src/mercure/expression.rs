//! Regular expressions within bounds: of the memory of each once it is compiled, and of what matching takes.
//!
//! They backtrack within a bitmap of what they have tried, one for all expressions of a thread. (Automata that are built
//! while they match are faster on long texts, and take ten times as much memory, for each expression and each thread.)

use std::cell::RefCell;

use regex_automata::nfa::thompson::backtrack::{BoundedBacktracker, Cache, Config};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;

/// Bytes of the bitmap: the largest expression on any topic.
const TRIED: usize = 1 << 20;

thread_local! {
    static CACHE: RefCell<Option<Cache>> = const { RefCell::new(None) };
}

#[derive(Debug)]
pub struct Expression(BoundedBacktracker);

impl Expression {
    /// None: it is none, or takes more than `most` bytes.
    pub fn compile(text: &str, most: usize) -> Option<Self> {
        // What it is matched with is ASCII, or compared byte by byte. What has no meaning there has one for characters.
        Self::of(text, most, false).or_else(|| Self::of(text, most, true))
    }

    fn of(text: &str, most: usize, unicode: bool) -> Option<Self> {
        let config = thompson::Config::new()
            .utf8(unicode)
            .nfa_size_limit(Some(most))
            .which_captures(WhichCaptures::None);
        let compiled = BoundedBacktracker::builder()
            .syntax(syntax::Config::new().unicode(unicode).utf8(unicode))
            .thompson(config)
            .configure(Config::new().visited_capacity(TRIED))
            .build(text);
        compiled.ok().map(Self)
    }

    /// Bytes that it takes.
    pub fn memory(&self) -> usize {
        self.0.get_nfa().memory_usage()
    }

    pub fn is_match(&self, text: &str) -> bool {
        CACHE.with_borrow_mut(|cache| {
            let cache = cache.get_or_insert_with(|| self.0.create_cache());
            cache.reset(&self.0);
            match self.0.try_is_match(cache, text) {
                Ok(is_match) => is_match,
                Err(_) => self.is_match_of_long(text),
            }
        })
    }

    /// The text is longer than the bitmap allows.
    fn is_match_of_long(&self, text: &str) -> bool {
        PikeVM::new_from_nfa(self.0.get_nfa().clone())
            .is_ok_and(|slower| slower.is_match(&mut slower.create_cache(), text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_matches_whatever_was_matched_before_and_however_long_the_text() {
        let digits = Expression::compile("^/a/([0-9]+)$", 4096).unwrap();
        let words = Expression::compile(r"^/b/(\w+)\b(?:/x)?$", 4096).unwrap();
        let letters = Expression::compile(r"^\p{Lu}é.$", 64 << 10).unwrap();
        let long = "1".repeat(1 << 20);
        for _ in 0..2 {
            assert!(digits.is_match("/a/12") && !digits.is_match("/a/12/") && !digits.is_match(""));
            assert!(words.is_match("/b/c") && words.is_match("/b/c/x") && !words.is_match("/b/"));
            assert!(letters.is_match("Ééx") && !letters.is_match("ééx"));
            assert!(
                digits.is_match(&format!("/a/{long}")) && !digits.is_match(&format!("/a/{long}x"))
            );
        }
    }

    #[test]
    fn what_takes_more_than_it_may_is_refused() {
        for text in [
            "(a{1000}){1000}",
            "((a{99}){99}){99}",
            r"\p{L}{999}",
            "(",
            "(?=a)",
            r"(a)\1",
        ] {
            assert!(Expression::compile(text, 32 << 10).is_none(), "{text}");
        }
        let all = Expression::compile("^(?:a|b){50}$", 32 << 10).unwrap();
        assert!((100..32 << 10).contains(&all.memory()), "{}", all.memory());
    }
}

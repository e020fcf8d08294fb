//! URL patterns (WHATWG): parsed by the crate `urlpattern`, matched here.
//!
//! The crate compiles two regular expressions for each of the eight parts of a URL, and hardly any is needed. So its
//! expressions stay text, and only what cannot be matched otherwise is compiled, within a bound for all parts together.
//! Matching takes time in proportion to the topic, whatever the pattern.

use urlpattern::matcher::{InnerMatcher, Matcher};
use urlpattern::regexp::RegExp;
use urlpattern::{RegexSyntax, UrlPattern, UrlPatternInit, UrlPatternOptions};

use super::MAX_PATTERN;
use super::expression::Expression;
use super::hub_url::HubUrl;
use super::topic::{ENDS, PARTS, UrlParts};

/// What each part of a URL has to be; what may be anything is not kept.
#[derive(Debug)]
pub struct Pattern {
    tests: Box<[(u8, Test)]>,
    literal_prefix: Box<str>,
}

#[derive(Debug)]
struct Test {
    prefix: Box<str>,
    suffix: Box<str>,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Literal(Box<str>),
    Anything,
    /// At least one character, without this one.
    Segment(Option<char>),
    Expression(Expression),
}

/// The text is not a URL pattern, or one that takes too much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPattern;

impl Pattern {
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str, hub: &HubUrl) -> Result<Self, NoPattern> {
        if !are_brackets_of_addresses(text) {
            return Err(NoPattern);
        }
        let base = Some(hub.url().clone());
        let init = UrlPatternInit::parse_constructor_string::<Uncompiled>(text, base);
        let options = UrlPatternOptions::default();
        let parsed = UrlPattern::<Uncompiled>::parse(init.map_err(|_| NoPattern)?, options)
            .map_err(|_| NoPattern)?;
        // In the order of `UrlParts`.
        let parts: [_; PARTS] = [
            parsed.protocol,
            parsed.hostname,
            parsed.port,
            parsed.pathname,
            parsed.search,
            parsed.hash,
            parsed.username,
            parsed.password,
        ]
        .map(|component| component.matcher);
        let literal_prefix: Box<str> = literal_prefix(&parts).into();
        let mut left = MAX_PATTERN
            .checked_sub(literal_prefix.len())
            .ok_or(NoPattern)?;
        let mut tests = Vec::new();
        for (part, number) in parts.into_iter().zip(0..) {
            let test = Test::of(part, left)?;
            if !test.takes_anything() {
                left = left.checked_sub(test.memory()).ok_or(NoPattern)?;
                tests.push((number, test));
            }
        }
        Ok(Self {
            tests: tests.into(),
            literal_prefix,
        })
    }

    pub fn matches(&self, url: &UrlParts) -> bool {
        let holds = |(part, test): &(u8, Test)| test.holds(&url.all[usize::from(*part)]);
        self.tests.iter().all(holds)
    }

    /// Bytes that it takes.
    pub fn memory(&self) -> usize {
        let tests = self.tests.iter().map(|(_, test)| test.memory());
        self.literal_prefix.len() + tests.sum::<usize>()
    }

    /// What the place of each topic that it matches begins with.
    pub fn literal_prefix(&self) -> &str {
        &self.literal_prefix
    }
}

/// Of the parts of a place: those that are literal, and the beginning of the first that is not.
fn literal_prefix(parts: &[Matcher<Uncompiled>; PARTS]) -> String {
    let mut out = String::new();
    for (part, end) in parts.iter().zip(ENDS) {
        out.push_str(&part.prefix);
        let InnerMatcher::Literal { literal } = &part.inner else {
            break;
        };
        out.push_str(literal);
        out.push_str(&part.suffix);
        out.push_str(end);
    }
    out
}

impl Test {
    /// `most`: bytes of an expression.
    fn of(part: Matcher<Uncompiled>, most: usize) -> Result<Self, NoPattern> {
        Ok(Self {
            prefix: part.prefix.into(),
            suffix: part.suffix.into(),
            inner: match part.inner {
                InnerMatcher::Literal { literal } => Inner::Literal(literal.into()),
                InnerMatcher::SingleCapture {
                    filter: None,
                    allow_empty: true,
                } => Inner::Anything,
                InnerMatcher::SingleCapture { filter, .. } => Inner::Segment(filter),
                InnerMatcher::RegExp { regexp } => {
                    let Uncompiled(text) = regexp.map_err(|_| NoPattern)?;
                    Inner::Expression(Expression::compile(&text, most).ok_or(NoPattern)?)
                }
            },
        })
    }

    fn memory(&self) -> usize {
        let inner = match &self.inner {
            Inner::Literal(literal) => literal.len(),
            Inner::Anything | Inner::Segment(_) => 0,
            Inner::Expression(expression) => expression.memory(),
        };
        size_of::<(u8, Self)>() + self.prefix.len() + self.suffix.len() + inner
    }

    fn takes_anything(&self) -> bool {
        matches!(self.inner, Inner::Anything) && self.prefix.is_empty() && self.suffix.is_empty()
    }

    fn holds(&self, part: &str) -> bool {
        let middle = part
            .strip_prefix(&*self.prefix)
            .and_then(|rest| rest.strip_suffix(&*self.suffix));
        middle.is_some_and(|middle| match &self.inner {
            Inner::Literal(literal) => middle == &**literal,
            Inner::Anything => true,
            Inner::Segment(without) => {
                !middle.is_empty() && without.is_none_or(|without| !middle.contains(without))
            }
            Inner::Expression(expression) => expression.is_match(middle),
        })
    }
}

/// Whether each square bracket outside of an expression is of an IPv6 address: of another one the crate's count of open
/// brackets runs below zero. What is false here for any other reason is no pattern anyway.
fn are_brackets_of_addresses(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'\\' => bytes.next().is_some_and(|next| !b"[]".contains(&next)),
            b'(' => skip_expression(&mut bytes),
            b'[' => bytes
                .find(|byte| !byte.is_ascii_hexdigit() && !b":.\\".contains(byte))
                .is_some_and(|end| end == b']'),
            b']' => false,
            _ => true,
        };
        if !fine {
            return false;
        }
    }
    true
}

/// Takes the rest of an expression in parentheses. False: it is none.
fn skip_expression(bytes: &mut impl Iterator<Item = u8>) -> bool {
    let mut depth = 1;
    let mut at_start = true;
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'\\' => bytes.next().is_some_and(|next| next.is_ascii()),
            b'(' => {
                depth += 1;
                bytes.next() == Some(b'?')
            }
            b')' => {
                depth -= 1;
                true
            }
            b'?' => !at_start,
            _ => byte.is_ascii(),
        };
        match (fine, depth) {
            (false, _) => return false,
            (true, 0) => return true,
            (true, _) => at_start = false,
        }
    }
    false
}

/// An expression of the crate's, as text.
#[derive(Debug)]
struct Uncompiled(String);

impl RegExp for Uncompiled {
    fn syntax() -> RegexSyntax {
        RegexSyntax::Rust
    }

    fn parse(pattern: &str, _flags: &str, _force_eval: bool) -> Result<Self, ()> {
        Ok(Self(pattern.to_owned()))
    }

    /// Of a scheme, while the pattern is parsed: whether it could be a special one.
    fn matches<'a>(&self, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        let expression = Expression::compile(&self.0, MAX_PATTERN)?;
        expression.is_match(text).then(Vec::new)
    }

    fn pattern_string(&self) -> &str {
        &self.0
    }
}

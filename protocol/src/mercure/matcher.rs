//! Matchers: which topics a subscription is about, and a token's grant. Equal matchers have equal keys, so that each is
//! held once.

use std::sync::Arc;

use super::expression::Expression;
use super::hub_url::HubUrl;
use super::pattern::Pattern;
use super::template::{self, NoTemplate};
use super::text::{self, Unfit};
use super::topic::Topic;
use super::{ORDINARY_PATTERN, Version};

/// How a matcher's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Exact,
    UrlPattern,
    /// 0.x: a string, or a URI template.
    Topic,
}

/// A topic, a set of topics, or (`*`) all of them.
#[derive(Debug, Clone)]
pub struct Matcher {
    kind: Kind,
    text: Arc<str>,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    All,
    Exact,
    UrlPattern(Arc<Pattern>),
    /// Equal, or an expansion.
    Template(Arc<Expression>),
}

/// What is compared with a matcher's literal prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix<'a> {
    /// The topic's text is this.
    Whole(&'a str),
    /// The topic's text begins so.
    Text(&'a str),
    /// The topic's [`place`](Topic::place) begins so.
    Place(&'a str),
}

/// Why text is not a matcher. `Display` is the phrase after the field's name, and repeats nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error(transparent)]
    Text(#[from] Unfit),
    #[error("must be a URL pattern that Askr can compile")]
    UrlPattern,
    #[error("must be a URI template that Askr can compile")]
    Template,
}

impl Kind {
    pub fn version(self) -> Version {
        match self {
            Self::Exact | Self::UrlPattern => Version::One,
            Self::Topic => Version::Legacy,
        }
    }

    /// `match_type`, and a part of a subscription's path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::UrlPattern => "urlpattern",
            Self::Topic => "topic",
        }
    }
}

impl Matcher {
    /// # Errors
    /// If the text is not a matcher of this kind.
    pub fn parse(kind: Kind, text: &str, hub: &HubUrl) -> Result<Self, Invalid> {
        text::check(text)?;
        let test = match kind {
            _ if text == "*" => Test::All,
            Kind::Exact => Test::Exact,
            Kind::UrlPattern => {
                let pattern = Pattern::parse(text, hub).map_err(|_| Invalid::UrlPattern)?;
                Test::UrlPattern(Arc::new(pattern))
            }
            Kind::Topic if !text.contains('{') => Test::Exact,
            Kind::Topic => match template::compiled(text) {
                Ok(expression) => Test::Template(Arc::new(expression)),
                Err(NoTemplate::Syntax) => Test::Exact,
                Err(NoTemplate::TooLarge) => return Err(Invalid::Template),
            },
        };
        Ok(Self {
            kind,
            text: text.into(),
            test,
        })
    }

    pub fn matches(&self, topic: &Topic<'_>) -> bool {
        match &self.test {
            Test::All => true,
            Test::Exact => *self.text == *topic.text(),
            Test::UrlPattern(pattern) => topic.parts().is_some_and(|url| pattern.matches(url)),
            Test::Template(expression) => {
                *self.text == *topic.text() || expression.is_match(topic.text())
            }
        }
    }

    /// Bytes that it takes: its text, and what is compiled of it.
    pub fn memory(&self) -> usize {
        self.text.len() + self.compiled()
    }

    fn compiled(&self) -> usize {
        match &self.test {
            Test::All | Test::Exact => 0,
            Test::UrlPattern(pattern) => pattern.memory(),
            Test::Template(expression) => expression.memory(),
        }
    }

    /// How many patterns it counts as: what is compiled of it bounds how long it takes to try it on a topic.
    pub fn weight(&self) -> usize {
        1 + self.compiled().saturating_sub(1) / ORDINARY_PATTERN
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether it matches one topic alone, which is its text.
    pub fn is_exact(&self) -> bool {
        matches!(self.test, Test::Exact)
    }

    /// What every topic that it matches begins with.
    pub fn literal_prefix(&self) -> Prefix<'_> {
        match &self.test {
            Test::All => Prefix::Text(""),
            Test::Exact => Prefix::Whole(&self.text),
            Test::UrlPattern(pattern) => Prefix::Place(pattern.literal_prefix()),
            Test::Template(_) => Prefix::Text(template::literal_prefix(&self.text)),
        }
    }

    /// The same for matchers that match the same topics because they are written the same.
    pub fn key(&self) -> String {
        let kind = match &self.test {
            Test::All => "*",
            Test::Exact => "=",
            Test::UrlPattern(_) => "u",
            Test::Template(_) => "t",
        };
        match self.test {
            Test::All => kind.to_owned(),
            _ => [kind, &self.text].concat(),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.text == other.text
    }
}

impl Eq for Matcher {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::MAX_PATTERN;
    use super::*;

    fn hub() -> HubUrl {
        HubUrl::parse("https://example.com/.well-known/mercure").unwrap()
    }

    fn matcher(kind: Kind, text: &str) -> Result<Matcher, Invalid> {
        let matcher = Matcher::parse(kind, text, &hub())?;
        assert_eq!((matcher.kind(), &**matcher.text()), (kind, text));
        Ok(matcher)
    }

    fn matches(kind: Kind, text: &str, topic: &str) -> bool {
        let hub = hub();
        let matcher = matcher(kind, text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let topic = Topic::new(topic, &hub);
        let matches = matcher.matches(&topic);
        let begins = match matcher.literal_prefix() {
            Prefix::Whole(text) => topic.text() == text,
            Prefix::Text(prefix) => topic.text().starts_with(prefix),
            Prefix::Place(prefix) => topic.place().is_some_and(|place| place.starts_with(prefix)),
        };
        assert!(begins || !matches, "{text} {}: {:?}", topic.text(), matcher);
        matches
    }

    #[test]
    fn a_string_matches_itself_alone() {
        for kind in [Kind::Exact, Kind::Topic] {
            assert!(matches(
                kind,
                "https://example.com/a",
                "https://example.com/a"
            ));
            for other in [
                "https://example.com/a/",
                "https://example.com/A",
                "https://EXAMPLE.com/a",
                "https://example.com/%61",
                "https://example.com/b/../a",
                "https://example.com/a?q",
                "/a",
            ] {
                assert!(!matches(kind, "https://example.com/a", other), "{other}");
            }
        }
        assert!(matches(Kind::Exact, "a/{id}", "a/{id}"));
        assert!(!matches(Kind::Exact, "a/{id}", "a/1"));
        assert!(!matches(Kind::Exact, "/a/:id", "/a/1"));
    }

    #[test]
    fn a_star_matches_everything() {
        for kind in [Kind::Exact, Kind::UrlPattern, Kind::Topic] {
            for topic in [
                "a",
                "https://x/y",
                "http://[",
                "*",
                "/.well-known/mercure/x",
            ] {
                assert!(matches(kind, "*", topic), "{kind:?} {topic}");
            }
            assert!(matcher(kind, "*").unwrap().key() == "*");
        }
        assert!(!matches(Kind::Exact, "a*", "ab"));
    }

    /// As Chromium 156 has it.
    #[test]
    fn a_url_pattern_matches_as_in_browsers() {
        for (pattern, topic, expected) in [
            ("foo", "/.well-known/foo", true),
            ("foo", "https://example.com/.well-known/foo", true),
            ("foo", "foo", true),
            ("foo", "https://other.example/.well-known/foo", false),
            ("/b/:id", "https://example.com/b/1", true),
            ("/b/:id", "/b/1", true),
            ("/b/:id", "/b/1?q", true),
            ("/b/:id", "/b/1#f", true),
            ("/b/:id", "/b/", false),
            ("/b/:id", "/b/1/2", false),
            ("/b/:id", "/b/a/../1", true),
            ("/b/:id", "/b/%2e%2e/1", false),
            ("/b/:id", "/b/1/..", false),
            ("/b/:id", "/c/../b/1", true),
            ("/b/:id", "/b/\\", false),
            ("/b/a/../1", "/b/1", true),
            ("/b/:id", "https://u:p@example.com/b/1", true),
            ("https://[\\:\\:1]/b", "https://[::1]/b", true),
            ("/b/([a-c]+)", "/b/abc", true),
            ("/b/([a-c]+)", "/b/d", false),
            ("/b/:id", "https://EXAMPLE.com/b/1", true),
            ("/b/:id", "https://example.com:443/b/1", true),
            ("/b/:id", "https://example.com:444/b/1", false),
            ("/b/:id", "http://example.com/b/1", false),
            ("/b/:id", "https://example.com./b/1", false),
            ("/b/:id", "//example.com/b/1", true),
            ("/b/:id", "https://evil.example/b/1", false),
            ("/b/:id", "/B/1", false),
            ("https://EXAMPLE.com/b", "https://example.com/b", true),
            ("/b/%3Ax", "/b/%3Ax", true),
            ("/b/%3Ax", "/b/%3ax", false),
            ("/b/%3Ax", "/b/:x", false),
            ("/b/:id?", "/b", true),
            ("/b/:id?", "/b/1", true),
            ("/b{/:id}?", "/b", true),
            ("/b{/:id}?", "/b/1", true),
            ("/b{/:id}?", "/b/1/2", false),
            ("/b/*", "/b/1/2", true),
            ("/b/*", "/c/1", false),
            ("/b/:id(\\d+)", "/b/12", true),
            ("/b/:id(\\d+)", "/b/12a", false),
            ("/b/:id(1|2)x", "/b/2x", true),
            ("/b/:id(1|2)x", "/b/1", false),
            ("/b/(a$|b)", "/b/b", true),
            ("/b?x=:x", "/b?x=1", true),
            ("/b?x=:x", "/b", false),
            ("https://*.example.com/b", "https://a.example.com/b", true),
            ("https://*.example.com/b", "https://example.com/b", false),
            ("https://:host/b", "https://a.b/b", false),
            ("urn\\:x\\:*", "urn:x:1", false),
            ("urn\\:x\\:*", "urn:y:1", false),
            ("urn:x:*", "urn:x:1", false),
            ("http{s}?://example.com/b", "http://example.com/b", true),
            ("/b/:id", "http://[", false),
            ("/ü/:id", "/%C3%BC/1", true),
            ("/ü/:id", "/ü/1", true),
            (
                "/.well-known/mercure/subscriptions/:match_type/https%3A%2F%2Fa%2Fb/:subscriber",
                "/.well-known/mercure/subscriptions/exact/https%3A%2F%2Fa%2Fb/urn%3Auuid%3A1",
                true,
            ),
            (
                "/.well-known/mercure/subscriptions/:match_type/https%3A%2F%2Fa%2Fb{/:subscriber}?",
                "/.well-known/mercure/subscriptions/exact/https%3A%2F%2Fa%2Fb",
                true,
            ),
            (
                "/.well-known/mercure/subscriptions/:match_type/https%3A%2F%2Fa%2Fb/:subscriber",
                "/.well-known/mercure/subscriptions/exact/https%3A%2F%2Fa%2Fc/urn%3Auuid%3A1",
                false,
            ),
        ] {
            let found = matches(Kind::UrlPattern, pattern, topic);
            assert_eq!(found, expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn what_is_no_url_pattern_is_refused() {
        let long = format!("/{}", "(a{1000})".repeat(100));
        for text in [
            "/b/((a))",
            "/b/(?=a)",
            "/b/(a(?=b))",
            "/b/(a(?!b))",
            "/b/(",
            "/b/{",
            "/b/:id/:id",
            "/b/(a{99999})",
            "/b/([)",
            "/b/(\\1)",
            "/b/(?:a)",
            "/b/(é)",
            "/b/\\",
            "file:]",
            "https://[@]",
            "https://\\]",
            "https://exa mple.com:x/",
            &long,
        ] {
            let refused = matcher(Kind::UrlPattern, text).err();
            assert_eq!(refused, Some(Invalid::UrlPattern), "{text}");
        }
    }

    #[test]
    fn a_template_matches_what_it_may_expand_to() {
        for (template, topic, expected) in [
            (
                "https://example.com/b/{id}",
                "https://example.com/b/1",
                true,
            ),
            (
                "https://example.com/b/{id}",
                "https://example.com/b/1,2",
                true,
            ),
            (
                "https://example.com/b/{id}",
                "https://example.com/b/%C3%BC-._~",
                true,
            ),
            (
                "https://example.com/b/{id}",
                "https://example.com/b/{id}",
                true,
            ),
            (
                "https://example.com/b/{id}",
                "https://example.com/b/1/2",
                false,
            ),
            (
                "https://example.com/b/{id}",
                "https://example.com/b/1?q",
                false,
            ),
            (
                "https://example.com/b/{id}",
                "https://example.com/b/%2",
                false,
            ),
            (
                "https://example.com/b/{id}",
                "https://exampleXcom/b/1",
                false,
            ),
            (
                "https://example.com/b/{id}",
                "xhttps://example.com/b/1",
                false,
            ),
            ("/b/{+path}", "/b/1/2?x", true),
            ("/b{/a,b}", "/b/1/2", true),
            ("/b{/a,b}", "/b", true),
            ("/b{/a,b}", "/b/1/2/3", false),
            ("/b{/a*}", "/b/1/2/3", true),
            ("/b{?q,r}", "/b?q=1&r=2", true),
            ("/b{?q,r}", "/b?r=2", true),
            ("/b{?q,r}", "/b?x=2", false),
            ("/b{&q}", "/b&q=1", true),
            ("/b{;q}", "/b;q", true),
            ("/b{#f}", "/b#a/b", true),
            ("/b{.e}", "/b.json", true),
            ("/b/{id:3}", "/b/abc", true),
            ("/b/{id:3}", "/b/abcd", false),
            ("/b/{a.b}/{%41_}", "/b/1/2", true),
            ("/b/{id", "/b/{id", true),
            ("/b/{id", "/b/1", false),
            ("/b/{}", "/b/{}", true),
            ("/b/{}", "/b/1", false),
            ("/b/{!x}", "/b/1", false),
            ("/b/}{x}", "/b/}1", false),
            ("/b/(a|{x})", "/b/a", false),
        ] {
            let found = matches(Kind::Topic, template, topic);
            assert_eq!(found, expected, "{template} {topic}");
        }
        let large = "{x:9999}".repeat(200);
        assert_eq!(matcher(Kind::Topic, &large).err(), Some(Invalid::Template));
    }

    #[test]
    fn text_with_hidden_characters_is_no_matcher() {
        for kind in [Kind::Exact, Kind::UrlPattern, Kind::Topic] {
            for (text, why) in [
                ("", Unfit::Empty),
                ("a\u{200b}", Unfit::Characters),
                ("a\nb", Unfit::Characters),
            ] {
                assert_eq!(matcher(kind, text).err(), Some(Invalid::Text(why)));
            }
        }
    }

    /// A pattern that is far larger than any topic is refused, all of its parts together.
    #[test]
    fn what_a_pattern_takes_is_bounded() {
        let part = "(ab|cd|ef)".repeat(40);
        let whole = |host: &str| format!("https://{host}/{part}\\?{part}#{part}");
        let channel = format!("presence-{}", "%C3%A9".repeat(60));
        let echo = format!("/hub/subscriptions/:match_type/{channel}/:subscriber");
        for (kind, text, fits) in [
            (Kind::UrlPattern, echo, true),
            (Kind::UrlPattern, format!("/{part}"), true),
            (Kind::UrlPattern, whole("x"), true),
            (Kind::UrlPattern, whole(&"(ab|cd|ef)".repeat(200)), false),
            (Kind::UrlPattern, format!("/{}:x", "a".repeat(1000)), true),
            (Kind::UrlPattern, format!("/{}:x", "a".repeat(4000)), true),
            (
                Kind::UrlPattern,
                format!("/:x-{}:y", "a".repeat(4000)),
                false,
            ),
            (Kind::Topic, format!("/{}{{x}}", "a".repeat(1000)), true),
            (Kind::Topic, format!("/{}{{x}}", "a".repeat(4000)), false),
        ] {
            let matcher = Matcher::parse(kind, &text, &hub());
            assert_eq!(matcher.is_ok(), fits, "{text}");
            if let Ok(matcher) = matcher {
                let most = matcher.text().len() + MAX_PATTERN;
                assert!(
                    (text.len()..=most).contains(&matcher.memory()),
                    "{text}: {}",
                    matcher.memory()
                );
            }
        }
    }

    #[test]
    fn ordinary_patterns_count_once_and_large_ones_as_often_as_they_are_larger() {
        let weight = |kind, text: &str| {
            let matcher = matcher(kind, text).unwrap();
            (matcher.weight(), matcher.memory() - text.len())
        };
        for (kind, text) in [
            (Kind::Exact, "https://example.com/a"),
            (Kind::UrlPattern, "*"),
            (Kind::UrlPattern, "/b/:id"),
            (Kind::UrlPattern, "https://*.example.com/:a/:b?/:c(\\d+)"),
            (Kind::UrlPattern, "/:a/:b/:c/:d?q=:q"),
            (
                Kind::UrlPattern,
                "/.well-known/mercure/subscriptions/:match_type/https%3A%2F%2Flaravel.alt%2Fecho%2Fchannel%2Fpresence-room.3/:subscriber",
            ),
            (
                Kind::UrlPattern,
                "/.well-known/mercure/subscriptions/:match_type/https%3A%2F%2Flaravel.alt%2Fecho%2Fchannel%2Fpresence-room.3{/:subscriber}?",
            ),
            (Kind::Topic, "https://example.com/{a}/{b}"),
            (
                Kind::Topic,
                "/.well-known/mercure/subscriptions/{topic}/{subscriber}",
            ),
        ] {
            assert_eq!(weight(kind, text).0, 1, "{text}: {}", weight(kind, text).1);
        }
        let (weight, compiled) = weight(Kind::UrlPattern, &format!("/({}x)", ".*".repeat(200)));
        assert!(
            weight > 2 && weight == compiled.div_ceil(ORDINARY_PATTERN),
            "{weight}"
        );
    }

    #[test]
    fn matchers_that_are_written_the_same_have_one_key() {
        let key = |kind, text| matcher(kind, text).unwrap().key();
        assert_eq!(key(Kind::Exact, "/a"), key(Kind::Topic, "/a"));
        assert_ne!(key(Kind::Exact, "/a"), key(Kind::UrlPattern, "/a"));
        assert_ne!(key(Kind::Exact, "/a/{x}"), key(Kind::Topic, "/a/{x}"));
        assert_ne!(
            key(Kind::UrlPattern, "/a/:x"),
            key(Kind::UrlPattern, "/a/:y")
        );
    }

    /// What patterns and tricks are made of.
    fn any_pattern() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "/",
            ":",
            ":id",
            "*",
            "(",
            ")",
            "{",
            "}",
            "?",
            "+",
            "\\",
            "#",
            "&",
            "=",
            "@",
            "[",
            "]",
            "|",
            "^",
            "$",
            ".",
            "..",
            "a",
            "b",
            "1",
            "%",
            "%3A",
            "ü",
            "http",
            "s://",
            "https://",
            "example.com",
            "urn:",
            "data:",
            "xn--",
            "(?:",
            "(\\d+)",
            "(a|b)",
            "{/:x}?",
            "{a}*",
            ",",
            "{+",
            "-",
            "_",
            " ",
            "İ",
            "K",
            "é",
            "\u{300}",
            "file:",
            "::1",
            "[::1]",
            ":80",
            "javascript:",
        ]);
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn no_matcher_panics_and_its_prefix_is_one(text in any_pattern(), topic in any_pattern()) {
            let hub = hub();
            for kind in [Kind::Exact, Kind::UrlPattern, Kind::Topic] {
                if Matcher::parse(kind, &text, &hub).is_ok() {
                    matches(kind, &text, &topic);
                    matches(kind, &text, &text);
                }
            }
        }
    }
}

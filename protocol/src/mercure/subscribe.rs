//! Subscribing: what a query asks for.

use std::collections::HashSet;

use super::Version;
use super::hub_url::HubUrl;
use super::matcher::{Kind, Matcher};
use crate::query::{self, Malformed};

/// The parameter of version 0.x that has a token.
const TOKEN: &str = "authorization";

/// What a subscriber asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Distinct, at least one.
    pub matchers: Vec<Matcher>,
    /// The id of the last event it has, or `earliest`. Not empty.
    pub last_event_id: Option<String>,
}

/// What of the protocol is spoken.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    pub hub: &'a HubUrl,
    /// Whether version 0.x is.
    pub legacy: bool,
    /// Matchers of one stream.
    pub matchers: usize,
}

impl Subscribe {
    /// `header`: the value of `Last-Event-ID`.
    ///
    /// # Errors
    /// One line for the response.
    pub fn parse(query: &str, header: Option<&[u8]>, rules: &Rules<'_>) -> Result<Self, String> {
        let mut matchers = Vec::new();
        let mut seen = HashSet::new();
        let mut ids = [None, None, None];
        for parameter in query::parameters(query) {
            let parameter = parameter.map_err(|why| why.to_string())?;
            let name = parameter.name.clone();
            let kind = match &*name {
                "match" | "match_exact" => Kind::Exact,
                "match_urlpattern" => Kind::UrlPattern,
                "topic" if rules.legacy => Kind::Topic,
                "topic" => {
                    let why = "topic is of version 0.x, which needs a key of its own (app.mercure_legacy_key_file)";
                    return Err(why.to_owned());
                }
                name if begins_with_match(name) => {
                    let why = "of the parameters that begin with match there are match, match_exact and match_urlpattern";
                    return Err(why.to_owned());
                }
                "last_event_id" => {
                    set(&mut ids[0], &name, parameter)?;
                    continue;
                }
                "lastEventID" if rules.legacy => {
                    set(&mut ids[1], &name, parameter)?;
                    continue;
                }
                "Last-Event-ID" if rules.legacy => {
                    set(&mut ids[2], &name, parameter)?;
                    continue;
                }
                _ => continue,
            };
            let text = parameter.text().map_err(|why| why.to_string())?;
            if !seen.insert((kind, text.clone())) {
                continue;
            }
            if seen.len() > rules.matchers {
                let most = rules.matchers;
                return Err(format!(
                    "there are more than {most} matchers (app.mercure_matchers)"
                ));
            }
            let matcher = Matcher::parse(kind, &text, rules.hub);
            matchers.push(matcher.map_err(|why| format!("{name} {why}"))?);
        }
        if matchers.is_empty() {
            return Err(match rules.legacy {
                true => "match, match_exact, match_urlpattern or topic must be given".to_owned(),
                false => "match, match_exact or match_urlpattern must be given".to_owned(),
            });
        }
        let header = header.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let mut all = std::iter::once(header).chain(ids).flatten();
        Ok(Self {
            matchers,
            last_event_id: all.find(|id| !id.is_empty()),
        })
    }

    /// Whether a matcher of this version is asked for.
    pub fn speaks(&self, version: Version) -> bool {
        let mut kinds = self.matchers.iter().map(Matcher::kind);
        kinds.any(|kind| kind.version() == version)
    }
}

/// The token in a query of version 0.x.
///
/// # Errors
/// If the query is malformed, or has it twice.
pub fn token(query: &str) -> Result<Option<String>, Malformed> {
    let token = query::parameter(query, TOKEN)?;
    Ok(token.filter(|token| !token.is_empty()))
}

fn begins_with_match(name: &str) -> bool {
    let beginning = name.as_bytes().get(..5);
    beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(b"match"))
}

fn set(id: &mut Option<String>, name: &str, parameter: query::Parameter) -> Result<(), String> {
    // Any bytes: an id that is none is not known.
    let text = String::from_utf8_lossy(&parameter.value).into_owned();
    match id.replace(text) {
        None => Ok(()),
        Some(_) => Err(format!("{name} must be given once")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(query: &str, header: Option<&str>, legacy: bool) -> Result<Subscribe, String> {
        let hub = HubUrl::parse("https://example.com/.well-known/mercure").unwrap();
        let rules = Rules {
            hub: &hub,
            legacy,
            matchers: 3,
        };
        Subscribe::parse(query, header.map(str::as_bytes), &rules)
    }

    fn matchers(query: &str) -> Vec<(Kind, String)> {
        let asked = ask(query, None, true).unwrap();
        let shown = |m: &Matcher| (m.kind(), m.text().to_string());
        asked.matchers.iter().map(shown).collect()
    }

    #[test]
    fn matchers_of_both_versions_add_up() {
        use Kind::{Exact, Topic, UrlPattern};
        let all = matchers("match=a&topic=b%7Bx%7D&match_urlpattern=/c/:id&other=1&match_exact=a");
        let shown = [(Exact, "a"), (Topic, "b{x}"), (UrlPattern, "/c/:id")];
        assert_eq!(all, shown.map(|(kind, text)| (kind, text.to_owned())));
        let both = ask("match=a&topic=b", None, true).unwrap();
        assert!(both.speaks(Version::One) && both.speaks(Version::Legacy));
        let one = ask("match=a", None, true).unwrap();
        assert!(one.speaks(Version::One) && !one.speaks(Version::Legacy));
        // One stream may have one text in two ways.
        assert_eq!(matchers("match=a&topic=a").len(), 2);
    }

    #[test]
    fn what_cannot_be_asked_is_named() {
        for (query, why) in [
            ("", "match, match_exact or match_urlpattern must be given"),
            (
                "last_event_id=x",
                "match, match_exact or match_urlpattern must be given",
            ),
            (
                "topic=a",
                "topic is of version 0.x, which needs a key of its own (app.mercure_legacy_key_file)",
            ),
            (
                "match=a&topic=a",
                "topic is of version 0.x, which needs a key of its own (app.mercure_legacy_key_file)",
            ),
            ("match=", "match cannot be empty"),
            (
                "match=%00",
                "match must not contain control or format characters",
            ),
            ("match=%FF", "match must be valid UTF-8"),
            ("match=%F", "match has a % without two hexadecimal digits"),
            (
                "match_urlpattern=(",
                "match_urlpattern must be a URL pattern that Askr can compile",
            ),
            (
                "match=a&match=b&match=c&match=d",
                "there are more than 3 matchers (app.mercure_matchers)",
            ),
            (
                "match=a&last_event_id=1&last_event_id=2",
                "last_event_id must be given once",
            ),
        ] {
            assert_eq!(ask(query, None, false), Err(why.to_owned()), "{query}");
        }
        for name in [
            "matches",
            "Match",
            "MATCH_EXACT",
            "match_regexp",
            "matcH_urlpattern",
            "match%5B%5D",
        ] {
            let why = ask(&format!("match=a&{name}=b"), None, true).unwrap_err();
            assert!(
                why.starts_with("of the parameters that begin with match"),
                "{name}"
            );
        }
        let long = "x".repeat(4097);
        assert_eq!(
            ask(&format!("match={long}"), None, false),
            Err("match must be at most 4096 bytes long".to_owned())
        );
    }

    #[test]
    fn the_header_wins_over_the_query_unless_it_is_empty() {
        let id = |query: &str, header, legacy| ask(query, header, legacy).unwrap().last_event_id;
        let query = "match=a&last_event_id=1&lastEventID=2&Last-Event-ID=3";
        assert_eq!(id(query, Some("0"), true).as_deref(), Some("0"));
        assert_eq!(id(query, Some(""), true).as_deref(), Some("1"));
        assert_eq!(
            id("match=a&lastEventID=2&Last-Event-ID=3", None, true).as_deref(),
            Some("2")
        );
        assert_eq!(
            id("match=a&Last-Event-ID=3", None, true).as_deref(),
            Some("3")
        );
        assert_eq!(
            id("match=a&lastEventID=2&Last-Event-ID=3", None, false),
            None
        );
        assert_eq!(id("match=a&last_event_id=", None, true), None);
        assert!(id("match=a&last_event_id=%FF", None, true).is_some());
    }

    #[test]
    fn a_token_may_be_in_the_query() {
        assert_eq!(
            token("topic=a&authorization=x.y.z"),
            Ok(Some("x.y.z".into()))
        );
        assert_eq!(token("topic=a&authorization="), Ok(None));
        assert!(token("authorization=a&authorization=b").is_err());
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".{0,80}") {
            let _ = ask(&query, None, true);
        }
    }
}

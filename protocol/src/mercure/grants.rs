//! What a token allows.

use std::sync::Arc;

use super::Version;
use super::hub_url::HubUrl;
use super::matcher::Matcher;
use super::topic::Topic;

/// Everything a token allows its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    pub version: Version,
    pub publish: Vec<Matcher>,
    pub subscribe: Vec<Grant>,
    /// Seconds since 1970. Only tokens of 0.x may have none.
    pub expires: Option<u64>,
}

/// Topics that may be subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub matcher: Matcher,
    /// JSON on one line, which active subscriptions show.
    pub payload: Option<Arc<str>>,
}

impl Grants {
    /// Of somebody without a token: public updates alone.
    pub fn none() -> Self {
        Self {
            version: Version::One,
            publish: Vec::new(),
            subscribe: Vec::new(),
            expires: None,
        }
    }

    /// Bytes that its matchers take.
    pub fn memory(&self) -> usize {
        let subscribe = self.subscribe.iter().map(|grant| &grant.matcher);
        let all = self.publish.iter().chain(subscribe);
        all.map(Matcher::memory).sum()
    }

    /// Whether an update may be published to all of these topics.
    pub fn can_publish<'a>(&self, topics: impl IntoIterator<Item = &'a Topic<'a>>) -> bool {
        let granted = |topic| self.publish.iter().any(|matcher| matcher.matches(topic));
        topics.into_iter().all(granted)
    }

    /// Whether a private update of these topics may be received.
    pub fn can_subscribe<'a>(&self, topics: impl IntoIterator<Item = &'a Topic<'a>>) -> bool {
        let granted = |topic| {
            self.subscribe
                .iter()
                .any(|grant| grant.matcher.matches(topic))
        };
        topics.into_iter().any(granted)
    }

    /// What active subscriptions of this matcher show: of the first grant that matches the matcher's own text.
    pub fn payload(&self, matcher: &Matcher, hub: &HubUrl) -> Option<&Arc<str>> {
        let topic = Topic::new(matcher.text(), hub);
        let first = self
            .subscribe
            .iter()
            .find(|grant| grant.matcher.matches(&topic));
        first?.payload.as_ref()
    }

    /// The same for all grants that let the same private updates through.
    pub fn subscribe_key(&self) -> String {
        let mut keys: Vec<String> = self.subscribe.iter().map(|g| g.matcher.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        // No matcher has a line break.
        keys.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mercure::matcher::Kind;

    fn hub() -> HubUrl {
        HubUrl::parse("https://example.com/.well-known/mercure").unwrap()
    }

    fn grants(publish: &[&str], subscribe: &[(&str, Option<&str>)]) -> Grants {
        let matcher = |text: &str| Matcher::parse(Kind::UrlPattern, text, &hub()).unwrap();
        Grants {
            version: Version::One,
            publish: publish.iter().map(|text| matcher(text)).collect(),
            subscribe: subscribe
                .iter()
                .map(|(text, payload)| Grant {
                    matcher: matcher(text),
                    payload: payload.map(Into::into),
                })
                .collect(),
            expires: None,
        }
    }

    fn topics<'a>(hub: &'a HubUrl, texts: &[&'a str]) -> Vec<Topic<'a>> {
        texts.iter().map(|text| Topic::new(text, hub)).collect()
    }

    #[test]
    fn publishing_needs_a_grant_for_every_topic_and_receiving_for_one() {
        let hub = hub();
        let grants = grants(&["/a/:x", "/b"], &[("/a/:x", None)]);
        for (texts, publish, subscribe) in [
            (&["/a/1"][..], true, true),
            (&["/a/1", "/b"], true, true),
            (&["/a/1", "/c"], false, true),
            (&["/c", "/a/1"], false, true),
            (&["/b"], true, false),
            (&["/c"], false, false),
        ] {
            let topics = topics(&hub, texts);
            assert_eq!(grants.can_publish(&topics), publish, "{texts:?}");
            assert_eq!(grants.can_subscribe(&topics), subscribe, "{texts:?}");
        }
        let topics = topics(&hub, &["/a/1"]);
        let nobody = Grants::none();
        assert!(!nobody.can_publish(&topics) && !nobody.can_subscribe(&topics));
    }

    #[test]
    fn the_payload_is_that_of_the_first_grant_which_matches_the_matcher_s_text() {
        let hub = hub();
        let grants = grants(
            &[],
            &[("/c", Some("0")), ("/a/:x", Some("1")), ("/a/*", Some("2"))],
        );
        let payload = |kind, text| {
            let matcher = Matcher::parse(kind, text, &hub).unwrap();
            grants.payload(&matcher, &hub).map(|json| json.to_string())
        };
        assert_eq!(payload(Kind::Exact, "/a/1").as_deref(), Some("1"));
        assert_eq!(payload(Kind::Exact, "/a/1/2").as_deref(), Some("2"));
        assert_eq!(payload(Kind::UrlPattern, "/a/:y").as_deref(), Some("1"));
        assert_eq!(payload(Kind::Exact, "/b"), None);
    }

    #[test]
    fn grants_in_another_order_have_the_same_key() {
        let key = |all: &[(&str, Option<&str>)]| grants(&[], all).subscribe_key();
        assert_eq!(
            key(&[("/a", None), ("/b", None)]),
            key(&[("/b", Some("1")), ("/a", None), ("/a", None)])
        );
        assert_ne!(key(&[("/a", None)]), key(&[("/b", None)]));
    }
}

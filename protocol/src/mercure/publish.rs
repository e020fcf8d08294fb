//! Publishing: the form that is posted, and what an update may be.

use std::collections::HashSet;

pub use shared::mercure::update::{EARLIEST, OWN_TYPE, event, id, topic};
use shared::rules;

use super::hub_url::HubUrl;
use crate::query::{self, Parameter};

/// An update to publish, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// Distinct, at least one.
    pub topics: Vec<String>,
    pub data: String,
    pub private: bool,
    pub id: Option<String>,
    pub event: Option<String>,
    pub retry: Option<u32>,
}

/// Why an update is refused. `Display` is one line for the publisher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Answered with status 413.
    #[error("{0}")]
    TooLarge(String),
    /// Answered with status 400.
    #[error("{0}")]
    Invalid(String),
}

/// The update of a form (`application/x-www-form-urlencoded`). `max_data`: bytes of the data.
///
/// # Errors
/// Which field is not what it must be. A limit is looked at before anything else.
pub fn parse(form: &[u8], hub: &HubUrl, max_data: usize) -> Result<Update, Refused> {
    let fields = Fields::read(form)?;
    fields.check_limits(max_data)?;
    fields.check(hub)
}

/// The fields as they were sent; others are ignored.
#[derive(Default)]
struct Fields {
    topics: Vec<String>,
    data: Option<String>,
    private: bool,
    id: Option<String>,
    event: Option<String>,
    retry: Option<String>,
}

impl Fields {
    fn read(form: &[u8]) -> Result<Self, Refused> {
        let malformed = |why: query::Malformed| invalid(why.to_string());
        let form =
            std::str::from_utf8(form).map_err(|_| invalid("the body must be valid UTF-8"))?;
        let mut fields = Self::default();
        for parameter in query::parameters(form) {
            let parameter = parameter.map_err(malformed)?;
            let once = match &*parameter.name {
                "topic" => {
                    fields.topics.push(parameter.text().map_err(malformed)?);
                    continue;
                }
                "private" => {
                    fields.private = true;
                    continue;
                }
                "data" => &mut fields.data,
                "id" => &mut fields.id,
                "type" => &mut fields.event,
                "retry" => &mut fields.retry,
                _ => continue,
            };
            let Parameter { name, .. } = &parameter;
            if once.is_some() {
                return Err(invalid(format!("{name} must be given once")));
            }
            *once = Some(parameter.text().map_err(malformed)?);
        }
        // An empty field says nothing.
        for optional in [&mut fields.id, &mut fields.event, &mut fields.retry] {
            *optional = optional.take().filter(|text| !text.is_empty());
        }
        Ok(fields)
    }

    fn check_limits(&self, max_data: usize) -> Result<(), Refused> {
        let each = self.topics.iter().map(String::len);
        let lengths = [
            (
                "topic",
                self.topics.len(),
                rules::MAX_TOPICS,
                "must be given at most",
                "times",
            ),
            (
                "topic",
                each.clone().max().unwrap_or(0),
                rules::MAX_TOPIC,
                "must be at most",
                "bytes long",
            ),
            (
                "topic",
                each.sum(),
                rules::MAX_TOPICS_LEN,
                "must be at most",
                "bytes long in all",
            ),
            (
                "data",
                self.data.as_ref().map_or(0, String::len),
                max_data,
                "must be at most",
                "bytes long",
            ),
            (
                "id",
                self.id.as_ref().map_or(0, String::len),
                rules::MAX_ID,
                "must be at most",
                "bytes long",
            ),
            (
                "type",
                self.event.as_ref().map_or(0, String::len),
                rules::MAX_EVENT,
                "must be at most",
                "bytes long",
            ),
        ];
        match lengths
            .into_iter()
            .find(|(_, length, most, ..)| length > most)
        {
            Some((name, _, most, how, what)) => {
                Err(Refused::TooLarge(format!("{name} {how} {most} {what}")))
            }
            None => Ok(()),
        }
    }

    fn check(self, hub: &HubUrl) -> Result<Update, Refused> {
        if self.topics.is_empty() {
            return Err(invalid("topic must be given"));
        }
        for name in &self.topics {
            topic(name, hub).map_err(|why| invalid(format!("topic {why}")))?;
        }
        if let Some(text) = &self.id {
            id(text).map_err(|why| invalid(format!("id {why}")))?;
        }
        if let Some(text) = &self.event {
            event(text).map_err(|why| invalid(format!("type {why}")))?;
        }
        let retry = match &self.retry {
            None => None,
            Some(text) => Some(retry(text).map_err(|why| invalid(format!("retry {why}")))?),
        };
        let mut seen = HashSet::new();
        let topics = &self.topics;
        let topics = topics.iter().filter(|topic| seen.insert(topic.as_str()));
        Ok(Update {
            topics: topics.cloned().collect(),
            data: self.data.unwrap_or_default(),
            private: self.private,
            id: self.id,
            event: self.event,
            retry,
        })
    }
}

fn retry(text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| format!("must be digits, at most {}", u32::MAX))
}

fn invalid(why: impl Into<String>) -> Refused {
    Refused::Invalid(why.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hub() -> HubUrl {
        HubUrl::parse("https://example.com/.well-known/mercure").unwrap()
    }

    fn form(text: &str) -> Result<Update, Refused> {
        parse(text.as_bytes(), &hub(), 100)
    }

    #[test]
    fn a_form_has_topics_and_may_have_more() {
        assert_eq!(
            form("topic=https%3A%2F%2Fexample.com%2F1"),
            Ok(Update {
                topics: vec!["https://example.com/1".into()],
                ..Update::default()
            })
        );
        assert_eq!(
            form(
                "topic=a&data=x%0Ay+z&topic=b&topic=a&private&id=urn%3A1&type=t&retry=5&other=%01"
            ),
            Ok(Update {
                topics: vec!["a".into(), "b".into()],
                data: "x\ny z".into(),
                private: true,
                id: Some("urn:1".into()),
                event: Some("t".into()),
                retry: Some(5),
            })
        );
        let empty = form("topic=a&id=&type=&retry=&data=&private=").unwrap();
        assert!(
            empty.private && empty.id.is_none() && empty.event.is_none() && empty.retry.is_none()
        );
        for passes in ["foo", "urn:x:mercure", "/books/1", "a{b}", "%2A"] {
            let encoded =
                percent_encoding::utf8_percent_encode(passes, percent_encoding::NON_ALPHANUMERIC);
            assert!(form(&format!("topic={encoded}")).is_ok(), "{passes}");
        }
    }

    #[test]
    fn what_a_field_cannot_be_is_named() {
        for (text, why) in [
            ("", "topic must be given"),
            ("data=x", "topic must be given"),
            ("topic=", "topic must not be the hub's own URL, or below it"),
            (
                "topic=%3Fx",
                "topic must not be the hub's own URL, or below it",
            ),
            (
                "topic=a&topic=mercure%2Fx",
                "topic must not be the hub's own URL, or below it",
            ),
            ("topic=*", "topic must not be \"*\""),
            (
                "topic=a%E2%80%8B",
                "topic must not contain control or format characters",
            ),
            (
                "topic=a%0D",
                "topic must not contain control or format characters",
            ),
            ("topic=%FF", "topic must be valid UTF-8"),
            ("topic=%F", "topic has a % without two hexadecimal digits"),
            ("topic=a&data=%FF", "data must be valid UTF-8"),
            ("topic=a&data=1&data=2", "data must be given once"),
            (
                "topic=a&id=%23x",
                "id must not begin with \"#\", or be \"earliest\"",
            ),
            (
                "topic=a&id=earliest",
                "id must not begin with \"#\", or be \"earliest\"",
            ),
            (
                "topic=a&id=a%00",
                "id must not contain control or format characters",
            ),
            (
                "topic=a&id=a%0Ab",
                "id must not contain control or format characters",
            ),
            ("topic=a&type=mercure", "type must not be \"mercure\""),
            (
                "topic=a&type=a%0Ab",
                "type must not contain control or format characters",
            ),
            (
                "topic=a&type=askr%3Agap",
                "type must not start with \"askr:\"",
            ),
            (
                "topic=a&retry=-1",
                "retry must be digits, at most 4294967295",
            ),
            (
                "topic=a&retry=%2B1",
                "retry must be digits, at most 4294967295",
            ),
            (
                "topic=a&retry=%D9%A1",
                "retry must be digits, at most 4294967295",
            ),
            (
                "topic=a&retry=4294967296",
                "retry must be digits, at most 4294967295",
            ),
        ] {
            assert_eq!(form(text), Err(invalid(why)), "{text}");
        }
        assert!(matches!(
            form("topic=a&id=0a0b0c0d0e0f-7"),
            Err(Refused::Invalid(_))
        ));
        assert!(matches!(
            parse(b"topic=\xff", &hub(), 9),
            Err(Refused::Invalid(_))
        ));
    }

    #[test]
    fn a_limit_comes_before_all_else() {
        let too_large = |text: &str| matches!(form(text), Err(Refused::TooLarge(_)));
        let x = |n| "x".repeat(n);
        assert!(too_large(&format!("topic=*&data={}", x(101))));
        assert!(!too_large(&format!("topic=a&data={}", x(100))));
        assert!(too_large(&format!("topic=*&topic={}", x(1025))));
        assert!(too_large(&format!("topic=*&id={}", x(201))));
        assert!(too_large(&format!("topic=*&type={}", x(201))));
        assert!(too_large(&"topic=a&".repeat(257)));
        let long: String = (0..33)
            .map(|n| format!("topic={n:02}{}&", x(1000)))
            .collect();
        assert!(too_large(&long));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_may_lie_in_the_ring(
            fields in prop::collection::vec(
                (prop::sample::select(vec!["topic", "topic", "data", "id", "type", "retry", "private", "x"]),
                 prop_oneof!["[a-z/:#%0-9A-F+*]{0,12}", ".{0,6}"]), 0..6),
        ) {
            let text: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if let Ok(update) = form(&text.join("&")) {
                let topics: Vec<&[u8]> = update.topics.iter().map(|topic| topic.as_bytes()).collect();
                let event = shared::event::EventRef {
                    topics: &topics,
                    private: update.private,
                    event: update.event.as_deref().map(str::as_bytes),
                    id: update.id.as_deref().map(str::as_bytes),
                    retry: update.retry,
                    data: update.data.as_bytes(),
                    ..shared::event::EventRef::default()
                };
                prop_assert_eq!(event.check(), Ok(()));
                prop_assert!(event.to_event(1).is_ok());
            }
        }
    }
}

//! Notices and pages as JSON. What comes from another node is as hostile as any other input: names are checked as those
//! of this host's own clients are. What is not known is passed over, since nodes may be of different versions.
//!
//! ```text
//! {"process":"00c0ffee00c0ffee","number":8,"settling":false,
//!  "changes":[{"member":["presence-room","7"],"info":"{\"name\":\"Ada\"}"},
//!             {"channel":"news","count":3},{"user":"7"},{"user":"8","gone":true}]}
//! {"process":…,"number":8,"settling":false,"facts":[…],"next":{"user":"7"}}
//! ```

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use shared::{grant, rules};

use super::{Change, Key, Notice, Page, Value};

/// The most bytes of a member's info.
const INFO: usize = 64 << 10;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<(Arc<str>, Arc<str>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

impl From<(&Key, Option<&Value>)> for Line {
    fn from((key, value): (&Key, Option<&Value>)) -> Self {
        let mut line = Self {
            gone: value.is_none(),
            ..Self::default()
        };
        match key {
            Key::Member { channel, user } => line.member = Some((channel.clone(), user.clone())),
            Key::Subscribers(channel) => line.channel = Some(channel.clone()),
            Key::User(user) => line.user = Some(user.clone()),
        }
        match value {
            Some(Value::Info(info)) => line.info = Some(info.clone()),
            Some(Value::Count(count)) => line.count = Some(*count),
            Some(Value::Plain) | None => {}
        }
        line
    }
}

impl Line {
    /// None: of a kind that is not known here, or with names that cannot be.
    fn key(&self) -> Option<Key> {
        let channel = |name: &Arc<str>| rules::channel(name.as_bytes()).is_ok();
        let user = |id: &Arc<str>| grant::any_user(id.as_bytes()).is_ok();
        let key = match (&self.member, &self.channel, &self.user) {
            (Some((on, id)), None, None) if channel(on) && user(id) => Key::Member {
                channel: on.clone(),
                user: id.clone(),
            },
            (None, Some(name), None) if channel(name) => Key::Subscribers(name.clone()),
            (None, None, Some(id)) if user(id) => Key::User(id.clone()),
            _ => return None,
        };
        Some(key)
    }

    fn change(self) -> Option<Change> {
        let key = self.key()?;
        if self.gone {
            return Some((key, None));
        }
        let value = match (&key, self.info, self.count) {
            (Key::Member { .. }, Some(info), _) if is_info(&info) => Value::Info(info),
            (Key::Member { .. }, None, _) | (Key::User(_), ..) => Value::Plain,
            (Key::Subscribers(_), _, Some(count)) if count > 0 => Value::Count(count),
            _ => return None,
        };
        Some((key, Some(value)))
    }
}

/// JSON on one line.
fn is_info(text: &str) -> bool {
    let one_line = text.len() <= INFO && !text.bytes().any(|byte| byte < b' ');
    one_line && serde_json::from_str::<&RawValue>(text).is_ok()
}

#[derive(Serialize, Deserialize)]
struct NoticeText {
    process: Hex,
    number: u64,
    #[serde(default)]
    settling: bool,
    #[serde(default)]
    changes: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct PageText {
    process: Hex,
    number: u64,
    #[serde(default)]
    settling: bool,
    facts: Vec<Line>,
    next: Option<Line>,
}

/// As text, since JSON's numbers are not exact everywhere.
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let number = u64::from_str_radix(&text, 16);
        number.map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Notice {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let known = self.changes.iter().flatten();
        let text = NoticeText {
            process: Hex(self.process),
            number: self.number,
            settling: self.settling,
            changes: known
                .map(|(key, value)| (key, value.as_ref()).into())
                .collect(),
        };
        text.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Notice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = NoticeText::deserialize(from)?;
        Ok(Self {
            process: text.process.0,
            number: text.number,
            settling: text.settling,
            changes: text.changes.into_iter().map(Line::change).collect(),
        })
    }
}

impl Serialize for Page {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let facts = self.facts.iter();
        let text = PageText {
            process: Hex(self.process),
            number: self.number,
            settling: self.settling,
            facts: facts
                .map(|(key, value)| (key, Some(value)).into())
                .collect(),
            next: self.next.as_ref().map(|key| Line {
                gone: false,
                ..(key, None).into()
            }),
        };
        text.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Page {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = PageText::deserialize(from)?;
        let facts = text.facts.into_iter().filter_map(Line::change);
        Ok(Self {
            process: text.process.0,
            number: text.number,
            settling: text.settling,
            facts: facts
                .filter_map(|(key, value)| value.map(|value| (key, value)))
                .collect(),
            next: text.next.and_then(|line| line.key()),
        })
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let line = Line {
            gone: false,
            ..(self, None).into()
        };
        line.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let key = Line::deserialize(from)?.key();
        key.ok_or_else(|| serde::de::Error::custom("not what a fact is about"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changes() -> impl Strategy<Value = Change> {
        let member = (
            "presence-[a-z]{1,5}",
            "[a-z0-9\"é]{1,5}",
            proptest::option::of("[a-z\"\\\\]{0,9}"),
        );
        let member = member.prop_map(|(channel, user, info)| {
            let key = Key::Member {
                channel: channel.into(),
                user: user.into(),
            };
            let info = info.map(|text| Value::Info(serde_json::to_string(&text).unwrap().into()));
            (key, info.unwrap_or(Value::Plain))
        });
        let subscribers = ("[a-z]{1,5}", 1..=u32::MAX)
            .prop_map(|(name, count)| (Key::Subscribers(name.into()), Value::Count(count)));
        let user = "[a-z]{1,5}".prop_map(|id| (Key::User(id.into()), Value::Plain));
        let fact = prop_oneof![member, subscribers, user];
        (fact, any::<bool>()).prop_map(|((key, value), gone)| (key, (!gone).then_some(value)))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(process: u64, number: u64, settling: bool, changes in prop::collection::vec(changes(), 0..5)) {
            let notice = Notice { process, number, settling, changes: changes.iter().cloned().map(Some).collect() };
            let text = serde_json::to_string(&notice).unwrap();
            prop_assert_eq!(serde_json::from_str::<Notice>(&text).unwrap(), notice);
            let facts: Vec<_> = changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            let next = facts.last().map(|(key, _)| key.clone());
            let page = Page { process, number, settling, facts, next };
            let text = serde_json::to_string(&page).unwrap();
            prop_assert_eq!(serde_json::from_str::<Page>(&text).unwrap(), page);
        }

        #[test]
        fn anything_is_read_or_refused(text in r#"\{"process":"[0-9a-g]{1,3}","number":-?[0-9]{1,21},"changes":\[\{"(member|user|channel|new)":(\["a?","b"\]|"a"|1)\}\]\}"#) {
            let _ = serde_json::from_str::<Notice>(&text);
        }
    }

    #[test]
    fn what_is_not_known_is_passed_over_and_counts_as_a_change() {
        let text = r#"{"process":"a","number":7,"more":1,"changes":[{"topic":"x"},{"user":"7","more":[]},
            {"user":""},{"channel":"a\nb","count":1},{"channel":"a","count":0},{"member":["presence-a","7"],"info":"{"},
            {"user":"7","channel":"a"}]}"#;
        let notice: Notice = serde_json::from_str(text).unwrap();
        let mut expected = vec![None; 7];
        expected[1] = Some((Key::User("7".into()), Some(Value::Plain)));
        assert_eq!((notice.process, notice.changes), (10, expected));
    }
}

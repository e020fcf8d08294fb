//! How far a subscription asks to look back: `10` (events), `30s`, `5m`, `2h`, or `all`. Pure.
//!
//! In a query it is text, in JSON a number or text. What is asked for is read first and held to the bounds
//! afterwards ([`Asked::within`]), so that there is one error for both, which names the parameter.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// How far to look back on each channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewind {
    /// The newest so many events. Never 0.
    Events(u32),
    /// Events published within the last so many seconds. Never 0.
    Seconds(u32),
    /// Every event that there is.
    All,
}

/// The most that may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events of one channel.
    pub events: u32,
    /// Their age in seconds; 0: any.
    pub seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events: 10_000,
            seconds: 0,
        }
    }
}

/// What a client sent for it. None: that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked(Option<Rewind>);

/// It cannot be read, or is more than is allowed. `Display` is one line for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rewind must be 1 to {} events (10), a time (30s, 5m, 2h{}) or all", .0.events, most(.0.seconds))]
pub struct Wrong(Limits);

fn most(seconds: u32) -> String {
    match seconds {
        0 => String::new(),
        seconds => format!("; at most {seconds}s"),
    }
}

impl Asked {
    pub fn parse(text: &str) -> Self {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number = number.parse::<u32>().ok().filter(|number| *number > 0);
        Self(match (number, unit) {
            (None, "all") if digits == 0 => Some(Rewind::All),
            (Some(events), "") => Some(Rewind::Events(events)),
            (Some(seconds), "s") => Some(Rewind::Seconds(seconds)),
            (Some(minutes), "m") => minutes.checked_mul(60).map(Rewind::Seconds),
            (Some(hours), "h") => hours.checked_mul(3600).map(Rewind::Seconds),
            _ => None,
        })
    }

    /// What was asked for, if it can be read and is allowed. `all` always is: it is as much as is allowed.
    ///
    /// # Errors
    /// What is allowed.
    pub fn within(self, limits: Limits) -> Result<Rewind, Wrong> {
        let fits = |rewind: &Rewind| match *rewind {
            Rewind::Events(events) => events <= limits.events,
            Rewind::Seconds(seconds) => limits.seconds == 0 || seconds <= limits.seconds,
            Rewind::All => true,
        };
        self.0.filter(fits).ok_or(Wrong(limits))
    }
}

impl<'de> Deserialize<'de> for Asked {
    /// Never fails: a value of another kind is one that cannot be read.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u32),
            Text(String),
            Other(IgnoredAny),
        }
        Ok(match Form::deserialize(from)? {
            Form::Number(events) => Self((events > 0).then_some(Rewind::Events(events))),
            Form::Text(text) => Self::parse(&text),
            Form::Other(IgnoredAny) => Self(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        events: 100,
        seconds: 7200,
    };

    fn read(text: &str) -> Option<Rewind> {
        Asked::parse(text).within(LIMITS).ok()
    }

    #[test]
    fn events_times_and_all() {
        for (text, expected) in [
            ("1", Rewind::Events(1)),
            ("100", Rewind::Events(100)),
            ("30s", Rewind::Seconds(30)),
            ("5m", Rewind::Seconds(300)),
            ("2h", Rewind::Seconds(7200)),
            ("all", Rewind::All),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(json_of(&json), Some(expected), "{json}");
        }
        assert_eq!(json_of("100"), Some(Rewind::Events(100)));
    }

    fn json_of(json: &str) -> Option<Rewind> {
        let asked: Asked = serde_json::from_str(json).unwrap();
        asked.within(LIMITS).ok()
    }

    #[test]
    fn what_cannot_be_read_and_what_is_too_much_are_refused_alike() {
        for text in [
            "",
            "0",
            "0s",
            "-1",
            "+1",
            "1.0",
            "101",
            "7201s",
            "3h",
            "s",
            "1d",
            "1 s",
            "ALL",
            "1all",
            "all1",
            " 1",
            "99999999999",
            "4294967295h",
            "٣",
        ] {
            let why = Asked::parse(text).within(LIMITS).unwrap_err().to_string();
            assert_eq!(
                why,
                "rewind must be 1 to 100 events (10), a time (30s, 5m, 2h; at most 7200s) or all",
                "{text}"
            );
        }
        for json in [
            "0",
            "101",
            "-1",
            "1.5",
            "true",
            "[1]",
            "{}",
            "1e3",
            "99999999999",
        ] {
            assert_eq!(json_of(json), None, "{json}");
        }
        let any_age = Limits {
            seconds: 0,
            ..LIMITS
        };
        let month = Asked::parse("720h").within(any_age);
        assert_eq!(month, Ok(Rewind::Seconds(720 * 3600)));
        let why = Asked::parse("x").within(any_age).unwrap_err().to_string();
        assert!(!why.contains("at most"), "{why}");
    }

    proptest! {
        #[test]
        fn nothing_past_a_bound_is_let_through(text in "[0-9]{0,11}[smh]?|all|.{0,6}", events in 1..200u32, seconds in 0..9000u32) {
            let limits = Limits { events, seconds };
            match Asked::parse(&text).within(limits) {
                Ok(Rewind::Events(n)) => prop_assert!((1..=events).contains(&n)),
                Ok(Rewind::Seconds(n)) => prop_assert!(n > 0 && (seconds == 0 || n <= seconds)),
                Ok(Rewind::All) => prop_assert_eq!(text, "all"),
                Err(why) => prop_assert!(!why.to_string().contains('\n')),
            }
        }
    }
}

//! What the bodies of requests on the control socket say.

use std::time::Duration;

use serde::Deserialize;
use shared::grant;

use crate::hub::command::Target;

/// Seconds that a drain may take, and those before it.
const LONGEST_DRAIN: f64 = 86_400.0;

/// A drain, as it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub notice: Duration,
    pub over: Duration,
}

/// Of `POST /disconnect`: whose connections are to end.
///
/// # Errors
/// One line, if the body names nobody.
pub fn target(body: &[u8]) -> Result<Target, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "snake_case")]
    enum Body {
        SocketId(String),
        User(String),
        All(bool),
    }
    let shape =
        || r#"the body must be {"socket_id":"1.2"}, {"user":"7"} or {"all":true}"#.to_owned();
    match serde_json::from_slice(body).map_err(|_| shape())? {
        Body::SocketId(id) => Ok(Target::Socket(id.parse().map_err(|()| shape())?)),
        Body::User(user) => match grant::any_user(user.as_bytes()) {
            Ok(()) => Ok(Target::User(user)),
            Err(why) => Err(format!("user {why}")),
        },
        Body::All(true) => Ok(Target::All),
        Body::All(false) => Err(shape()),
    }
}

/// Of `POST /drain`. None: it is to stop.
///
/// # Errors
/// One line, if the body says neither, or asks for more time than there may be.
pub fn drain(body: &[u8]) -> Result<Option<Wanted>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        over: Option<f64>,
        notice: Option<f64>,
        #[serde(default)]
        stop: bool,
    }
    let shape = || r#"the body must be {"over":30,"notice":5} or {"stop":true}"#.to_owned();
    let seconds = |key: &str, value: f64| match (0.0..=LONGEST_DRAIN).contains(&value) {
        true => Ok(Duration::from_secs_f64(value)),
        false => Err(format!("{key} must be 0 to {LONGEST_DRAIN} seconds")),
    };
    match serde_json::from_slice(body).map_err(|_| shape())? {
        Body {
            over: None,
            notice: None,
            stop: true,
        } => Ok(None),
        Body {
            over: Some(over),
            notice,
            stop: false,
        } => Ok(Some(Wanted {
            notice: seconds("notice", notice.unwrap_or(0.0))?,
            over: seconds("over", over)?,
        })),
        Body { .. } => Err(shape()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_has_a_duration_within_a_day_or_stops() {
        let wanted = |notice, over| {
            Ok(Some(Wanted {
                notice: Duration::from_secs_f64(notice),
                over: Duration::from_secs_f64(over),
            }))
        };
        assert_eq!(drain(br#"{"over":30}"#), wanted(0.0, 30.0));
        assert_eq!(
            drain(br#"{"over":86400,"notice":0.5}"#),
            wanted(0.5, 86_400.0)
        );
        assert_eq!(drain(br#"{"stop":true}"#), Ok(None));
        for refused in [
            r#"{"over":-1}"#,
            r#"{"over":86400.1}"#,
            r#"{"over":1e400}"#,
            r#"{"over":30,"notice":-0.1}"#,
            r#"{"over":30,"stop":true}"#,
            r#"{"over":30,"over":31}"#,
            r#"{"notice":5}"#,
            r#"{"stop":false}"#,
            r#"{"over":30,"more":1}"#,
            "{}",
            "30",
            "",
        ] {
            assert!(drain(refused.as_bytes()).is_err(), "{refused}");
        }
    }

    #[test]
    fn whose_connections_end_is_said_in_one_way() {
        assert_eq!(target(br#"{"all":true}"#), Ok(Target::All));
        assert_eq!(target(br#"{"user":"7"}"#), Ok(Target::User("7".to_owned())));
        assert_eq!(
            target(br#"{"socket_id":"1.2"}"#),
            Ok(Target::Socket("1.2".parse().unwrap()))
        );
        for refused in [
            r#"{"all":false}"#,
            r#"{"user":""}"#,
            r#"{"user":7}"#,
            r#"{"socket_id":"1"}"#,
            r#"{"user":"7","all":true}"#,
            "",
        ] {
            assert!(target(refused.as_bytes()).is_err(), "{refused}");
        }
    }
}

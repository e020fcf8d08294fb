//! Any bytes as the application's answer: no answer, or one for each channel that was asked about, which
//! opens only what a plain JSON reader finds opened.
#![no_main]

use askrd::auth::answer::read;
use askrd::auth::authorizer::Wanted;
use askrd_fuzz::{check_user, plain};
use libfuzzer_sys::fuzz_target;
use protocol::user_bounds::UserBounds;
use serde_json::Value;

const NOW: u64 = 1000;
const USERS: UserBounds = UserBounds { id: 20, info: 60 };
const WANTED: [Wanted; 3] = [
    Wanted {
        number: 1,
        name: "private-a",
    },
    Wanted {
        number: 2,
        name: "presence-b",
    },
    Wanted {
        number: 4,
        name: "private-\"\\é",
    },
];

fuzz_target!(|data: &[u8]| {
    let Ok(answers) = read(data, &WANTED, NOW, USERS) else {
        return;
    };
    assert_eq!(answers.len(), WANTED.len());
    let Some(told) = plain(data) else {
        return;
    };
    for (answer, channel) in answers.iter().zip(WANTED) {
        let Ok(access) = answer else {
            continue;
        };
        let value = &told["channels"][channel.name];
        assert!(value == &Value::Bool(true) || value.is_object(), "{value}");
        assert!(access.expires.is_none_or(|at| at > NOW));
        assert_eq!(access.issued, Some(NOW));
        assert_eq!(access.expires, value.get("expires").and_then(Value::as_u64));
        let user = value.get("user").filter(|user| !user.is_null());
        let user = user.map(|user| user.as_str().map_or(user.to_string(), str::to_owned));
        assert_eq!(access.user.as_deref(), user.as_deref());
        check_user(access.user.as_deref(), access.info.as_deref(), USERS);
    }
});

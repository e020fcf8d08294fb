//! Any text as the note of who was on presence channels: refused with one line, or members as a client could have
//! been one, no more than are noted.
#![no_main]

use askrd::hub::presence::Before;
use askrd::hub::presence_note::{MOST, parse};
use libfuzzer_sys::fuzz_target;
use protocol::channel::Kind;
use protocol::user_bounds::{MAX_ID, UserBounds};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse(text) {
        Ok(Before::These(members)) => {
            assert!((1..=MOST).contains(&members.len()));
            for (channel, user) in members {
                assert!(Kind::of(&channel).is_presence());
                assert!(shared::rules::channel(channel.as_bytes()).is_ok());
                let users = UserBounds {
                    id: MAX_ID,
                    ..UserBounds::default()
                };
                askrd_fuzz::check_user(Some(&user), None, users);
            }
        }
        Ok(Before::Nobody | Before::Somebody) => {}
        Err(why) => assert!(!why.contains('\n')),
    }
});

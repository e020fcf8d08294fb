//! Any bytes as the body of a request on the control socket: a drain within a day, connections of somebody who can have
//! some, or one line that says what the body must be.
#![no_main]

use std::time::Duration;

use askrd::hub::command::Target;
use askrd::process::drain::Drain;
use askrd::server::control_bodies::{drain, target};
use libfuzzer_sys::fuzz_target;

const DAY: Duration = Duration::from_secs(86_400);

fuzz_target!(|data: &[u8]| {
    match drain(data) {
        Ok(Some(wanted)) => {
            assert!(wanted.notice <= DAY && wanted.over <= DAY);
            let ordered = Drain::default();
            ordered.begin(wanted.notice, wanted.over);
            let plan = ordered.plan().expect("it was ordered");
            assert!(plan.begins <= plan.ends && plan.left() <= 2 * DAY);
        }
        Ok(None) => {}
        Err(why) => assert!(!why.contains('\n')),
    }
    match target(data) {
        Ok(Target::User(user)) => assert!(shared::grant::any_user(user.as_bytes()).is_ok()),
        Ok(Target::Socket(_) | Target::All) => {}
        Err(why) => assert!(!why.contains('\n')),
    }
});

//! Any text as the note of erased channels: refused with one line, or channels that events can be published to, no more
//! than are remembered.
#![no_main]

use askrd::hub::erased::{Erasure, are_too_many};
use askrd::hub::erased_file::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse(text) {
        Ok(all) => {
            assert!(!are_too_many(&all));
            for Erasure { channel, at, .. } in all {
                assert!(shared::rules::channel(channel.as_bytes()).is_ok());
                assert!(text.contains(&format!("{at} {channel}")));
            }
        }
        Err(why) => assert!(!why.contains('\n')),
    }
});

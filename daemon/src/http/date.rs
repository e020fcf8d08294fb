//! The current time as HTTP writes it (RFC 9110, section 5.6.7). Each stream's head has it: it is written once a second.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use httpdate::HttpDate;
use shared::segment::now_s;

thread_local! {
    /// The second, and its text.
    static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Appends the current time.
pub fn write(out: &mut Vec<u8>) {
    at(out, now_s());
}

/// Appends a time in seconds since 1970.
fn at(out: &mut Vec<u8>, second: u64) {
    LAST.with_borrow_mut(|(last, text)| {
        if *last != second {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            *text = HttpDate::from(time).to_string();
            *last = second;
        }
        out.extend_from_slice(text.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(second: u64) -> String {
        let mut out = Vec::new();
        at(&mut out, second);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_second_has_its_own() {
        for _ in 0..2 {
            assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
            assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
            assert_eq!(text(784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT");
        }
    }
}

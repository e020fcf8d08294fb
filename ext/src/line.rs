//! One line of text on the stack.
//!
//! Messages for PHP are built here and not in a `String`: when PHP runs out of memory while it makes
//! an exception it leaves by `longjmp`, which runs no destructor, so a `String` alive then would leak.

use std::ffi::CStr;
use std::fmt;

/// Room for a sentence with a ring's path (200 bytes) twice; longer text is cut at a character.
const ROOM: usize = 1024;

/// A line of at most 1,023 bytes, always NUL-terminated, never with a NUL or line break inside.
pub struct Line {
    text: [u8; ROOM],
    len: usize,
}

impl Line {
    pub fn new(text: fmt::Arguments<'_>) -> Self {
        let mut line = Self {
            text: [0; ROOM],
            len: 0,
        };
        // `write_str` below never fails; what does not fit is cut.
        let _ = fmt::write(&mut line, text);
        line
    }

    pub fn as_str(&self) -> &str {
        // Only whole characters are written.
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }

    pub fn as_c_str(&self) -> &CStr {
        // The last byte is never written, so there is always a NUL.
        CStr::from_bytes_until_nul(&self.text).unwrap_or_default()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // A log takes a line for a message, and a NUL would cut it.
            let c = if c.is_control() { '?' } else { c };
            if self.len + c.len_utf8() >= ROOM {
                break;
            }
            self.len += c.encode_utf8(&mut self.text[self.len..]).len();
        }
        Ok(())
    }
}

/// `format!` onto the stack.
macro_rules! line {
    ($($text:tt)*) => { $crate::line::Line::new(format_args!($($text)*)) };
}
pub(crate) use line;

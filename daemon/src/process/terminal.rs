//! What is printed: text with names and payloads in it that others chose, on a terminal that obeys some characters and is
//! deceived by others. It is printed here and nowhere else, so that none gets there.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// The cursor to the top, and what is below it away.
const AGAIN: &str = "\x1b[H\x1b[J";

/// The same text where each character that a terminal would obey, or that changes how others look without being seen, is
/// written as JSON escapes it. So JSON stays what it was, since it has such characters in strings alone. A line's end and a
/// tab stay.
pub fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_escaped(c) {
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// The joiners are among them, which some scripts and emoji want: in a name they are not seen.
fn is_escaped(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        ' '..='~' => false,
        // C0, delete, C1.
        c if c.is_control() => true,
        // Of no width, or of the direction of writing.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        // Line and paragraph.
        '\u{2028}' | '\u{2029}' => true,
        // Annotations, and tags.
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// Prints it on standard output.
///
/// # Errors
/// If nobody reads any more, as after `head`: no failure of who only prints and ends.
pub fn print(text: &str) -> io::Result<()> {
    write(io::stdout().lock(), "", text)
}

/// Prints it in place of what is on the terminal.
///
/// # Errors
/// As of [`print()`].
pub fn print_again(text: &str) -> io::Result<()> {
    write(io::stdout().lock(), AGAIN, text)
}

fn write(mut out: impl Write, before: &str, text: &str) -> io::Result<()> {
    out.write_all(before.as_bytes())?;
    out.write_all(safe(text).as_bytes())?;
    out.flush()
}

/// Whether standard output is a terminal.
pub fn is_there() -> bool {
    io::stdout().is_terminal()
}

/// A line on standard error, so that the output itself stays what scripts read. As of the output: nobody may read it.
pub fn complain(line: &str) {
    let _ = write(io::stderr(), "", &format!("{line}\n"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_does_not_show_is_escaped() {
        assert!(matches!(safe("a \"b\"\té\n€ 😀"), Cow::Borrowed(_)));
        for (text, shown) in [
            ("\x1b[2Ja", r"\u001b[2Ja"),
            ("a\r\0\u{7f}\u{9b}2J", r"a\u000d\u0000\u007f\u009b2J"),
            ("pay\u{202e}gpj.exe", r"pay\u202egpj.exe"),
            ("\u{2066}a\u{2069}\u{61c}", r"\u2066a\u2069\u061c"),
            ("a\u{2028}b\u{2029}", r"a\u2028b\u2029"),
            ("ad\u{200b}m\u{200d}in\u{feff}", r"ad\u200bm\u200din\ufeff"),
            ("a\u{e0041}", r"a\udb40\udc41"),
        ] {
            assert_eq!(safe(text), shown);
        }
    }

    proptest! {
        #[test]
        fn json_stays_json_and_means_the_same(
            text in r#"[a\\"\n\x00-\x1f\x7f-\u{9f}\u{200b}-\u{2069}\u{feff}\u{e0001}😀]*"#
        ) {
            let json = serde_json::to_string(&text).unwrap();
            let safe = safe(&json);
            prop_assert!(!safe.chars().any(is_escaped));
            prop_assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), Value::String(text));
        }
    }
}

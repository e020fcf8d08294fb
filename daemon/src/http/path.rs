//! Paths that a proxy and askrd would read differently. A proxy resolves dot segments and empty ones to choose what to do
//! with a request (nginx: its location), and passes the path on as it came: what it keeps closed could be reached through
//! what it opens. Pure.

/// Whether a segment of `path` is `.`, `..` or empty. Dots and slashes count however often they are percent-encoded, and
/// so does a backslash, which some take for a slash; an empty segment only where it is written as one, since a name
/// may begin or end with an encoded slash.
pub fn has_dot_segments(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut found = bytes.windows(2).any(|pair| pair == b"//");
    // Nearly every path has nothing that could be any of it.
    if memchr::memchr3(b'.', b'%', b'\\', bytes).is_none() {
        return found;
    }
    // Of a segment: how many dots, as long as nothing else is in it.
    let mut dots = Some(0);
    let mut rest = bytes;
    while !found && !rest.is_empty() {
        let (byte, after) = decoded(rest);
        rest = after;
        match byte {
            b'/' | b'\\' => found = is_dots(dots.replace(0)),
            b'.' => dots = dots.map(|count| count + 1),
            _ => dots = None,
        }
    }
    found || is_dots(dots)
}

fn is_dots(dots: Option<u32>) -> bool {
    matches!(dots, Some(1 | 2))
}

/// The first character, decoded if it is a dot, a slash or a backslash, and what comes after it. A percent sign may itself
/// be encoded, any number of times: `%252e`.
fn decoded(text: &[u8]) -> (u8, &[u8]) {
    let (first, after) = (text[0], &text[1..]);
    if first != b'%' {
        return (first, after);
    }
    let mut digits = after;
    while let Some(rest) = digits.strip_prefix(b"25") {
        digits = rest;
    }
    let byte = match digits.get(..2).map(<[u8]>::to_ascii_lowercase).as_deref() {
        Some(b"2e") => b'.',
        Some(b"2f") => b'/',
        Some(b"5c") => b'\\',
        _ => return (first, after),
    };
    (byte, &digits[2..])
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    /// As nginx reads a path to choose a location: decoded once, slashes merged, dot segments resolved. None: it leads
    /// out, which nginx refuses itself.
    fn resolved(path: &str) -> Option<Vec<u8>> {
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        let mut segments: Vec<&[u8]> = Vec::new();
        for segment in decoded.split(|b| *b == b'/') {
            match segment {
                b"" | b"." => {}
                b".." => drop(segments.pop()?),
                _ => segments.push(segment),
            }
        }
        let mut path = vec![b'/'];
        path.extend(segments.join(&b'/'));
        if decoded.ends_with(b"/") && path.len() > 1 {
            path.push(b'/');
        }
        Some(path)
    }

    /// Paths made of what routes and tricks are made of.
    fn any_path() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "/", "/", "/", "/", "app", "apps", "askr", "up", "events", "7", "..", ".", "%2e",
            "%2E", "%2f", "%2F", "%5c", "%25", "%252e", "2e", "x",
        ]);
        let start = prop::sample::select(vec!["/apps/", "/app/", "/askr/", "/"]);
        (start, prop::collection::vec(part, 0..12))
            .prop_map(|(start, parts)| start.to_owned() + &parts.concat())
    }

    proptest! {
        #[test]
        fn a_proxy_that_resolves_a_path_finds_the_same_part_of_it(path in any_path()) {
            if !has_dot_segments(&path) {
                let resolved = resolved(&path).expect("it does not lead out");
                for prefix in ["/apps/", "/app/", "/askr/"] {
                    let below = path.len() > prefix.len();
                    prop_assert!(!below || !path.starts_with(prefix) || resolved.starts_with(prefix.as_bytes()), "{}", path);
                }
            }
        }
    }

    #[test]
    fn dots_between_slashes_are_found_in_any_encoding() {
        for path in [
            "/..",
            "/.",
            "/../",
            "/a/../b",
            "/a/./b",
            "/a/.",
            "..",
            "/%2e",
            "/%2E%2e/",
            "/a/.%2e/b",
            "/a%2f..",
            "/a%2F%2e%2e%2fb",
            "/..%5cb",
            "/a\\..\\b",
            "/%252e%252e/b",
            "/a%25252f..",
            "/%25%32%65/../",
            "//",
            "/a//b",
            "/a//",
        ] {
            assert!(has_dot_segments(path), "{path}");
        }
        for path in [
            "/",
            "/a",
            "/a/",
            "/...",
            "/a..b",
            "/a/.b",
            "/a/b.",
            "/a/..b/c",
            "/%2eb",
            "/%2e%2e%2e",
            "/a%2fb",
            "/%2fa",
            "/a%2f%2fb",
            "/%25",
            "/%",
            "/%2",
            "/%25%25",
            "/25e",
            "",
        ] {
            assert!(!has_dot_segments(path), "{path}");
        }
    }

    #[test]
    fn a_long_path_takes_time_in_proportion_to_its_length() {
        // Were each percent sign decoded by itself, these would be a billion steps.
        for path in [
            "/%".to_owned() + &"25".repeat(1 << 20),
            "/".to_owned() + &"%25".repeat(1 << 20),
        ] {
            assert!(!has_dot_segments(&path));
        }
    }
}

//! Query strings, as forms are encoded (WHATWG URL, "application/x-www-form-urlencoded"): pairs between `&`,
//! `%xx` for a byte, `+` for a space. Strict: what a browser would never write is an error that names the
//! parameter, not a parameter that is silently missing.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Why a query cannot be parsed, with the parameter's name. `Display` is one line for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("{0} has a % without two hexadecimal digits")]
    Escape(String),
    #[error("{0} must be valid UTF-8")]
    NotUtf8(String),
    #[error("{0} must be given once")]
    Repeated(String),
}

/// One parameter, decoded. Its value need not be UTF-8: a cursor of another origin may be any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter<'a> {
    pub name: Cow<'a, str>,
    pub value: Cow<'a, [u8]>,
}

impl Parameter<'_> {
    /// The value as text.
    ///
    /// # Errors
    /// If the value is not UTF-8.
    pub fn text(self) -> Result<String, Malformed> {
        String::from_utf8(self.value.into_owned())
            .map_err(|_| Malformed::NotUtf8(printable(&self.name)))
    }
}

/// Every parameter in the order of the query. One without `=` has an empty value; empty pairs are skipped.
pub fn parameters(query: &str) -> impl Iterator<Item = Result<Parameter<'_>, Malformed>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let of_name = || "a parameter's name".to_owned();
        let name = match decode(name).ok_or_else(|| Malformed::Escape(of_name()))? {
            Cow::Borrowed(_) => Cow::Borrowed(name),
            Cow::Owned(name) => {
                let name = String::from_utf8(name).map_err(|_| Malformed::NotUtf8(of_name()))?;
                Cow::Owned(name)
            }
        };
        match decode(value) {
            Some(value) => Ok(Parameter { name, value }),
            None => Err(Malformed::Escape(printable(&name))),
        }
    })
}

/// The name as an error shows it: anything that no parameter here is named like is not repeated.
fn printable(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match (1..=32).contains(&name.len()) && name.bytes().all(plain) {
        true => name.to_owned(),
        false => "a parameter".to_owned(),
    }
}

/// The value of the parameter `name`; None if it is absent.
///
/// # Errors
/// If the query is malformed, or has the parameter twice.
pub fn parameter(query: &str, name: &str) -> Result<Option<String>, Malformed> {
    let mut found = None;
    for parameter in parameters(query) {
        let parameter = parameter?;
        if parameter.name == name && found.replace(parameter.text()?).is_some() {
            return Err(Malformed::Repeated(name.to_owned()));
        }
    }
    Ok(found)
}

/// None: a `%` without two hexadecimal digits. What has nothing to decode is borrowed as it is.
fn decode(text: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = text.as_bytes();
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return Some(Cow::Borrowed(bytes));
    }
    let broken = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        !digits.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    };
    if memchr::memchr_iter(b'%', bytes).any(broken) {
        return None;
    }
    let spaced = text.replace('+', " ");
    Some(Cow::Owned(percent_decode(spaced.as_bytes()).collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(query: &str) -> Result<Option<String>, Malformed> {
        parameter(query, "a")
    }

    #[test]
    fn a_value_is_decoded_as_a_form_writes_it() {
        for (query, value) in [
            ("a=1", Some("1")),
            ("b=2&a=x+y%20z%2B", Some("x y z+")),
            ("%61=%C3%A9", Some("é")),
            ("a", Some("")),
            ("a=", Some("")),
            ("a=b=c", Some("b=c")),
            ("&&a=1&", Some("1")),
            ("aa=1", None),
            ("", None),
        ] {
            assert_eq!(get(query), Ok(value.map(str::to_owned)), "{query}");
        }
    }

    #[test]
    fn a_malformed_query_is_an_error_that_names_the_parameter() {
        assert_eq!(get("a=%"), Err(Malformed::Escape("a".into())));
        assert_eq!(
            get("b=%4x&a=1"),
            Err(Malformed::Escape("b".into())),
            "in another parameter too"
        );
        assert_eq!(get("a=%ff"), Err(Malformed::NotUtf8("a".into())));
        assert_eq!(
            get("b=%ff&a=1"),
            Ok(Some("1".into())),
            "another parameter's value"
        );
        let twice = get("a=1&a=1").unwrap_err();
        assert_eq!(twice.to_string(), "a must be given once");
    }

    #[test]
    fn an_error_repeats_only_a_short_plain_name() {
        for (query, reason) in [
            (
                "%4x=1",
                "a parameter's name has a % without two hexadecimal digits",
            ),
            ("%ff=1", "a parameter's name must be valid UTF-8"),
            (
                "last-event_id=%",
                "last-event_id has a % without two hexadecimal digits",
            ),
            (
                "b%0A=%",
                "a parameter has a % without two hexadecimal digits",
            ),
            (
                &format!("{}=%", "b".repeat(33)),
                "a parameter has a % without two hexadecimal digits",
            ),
        ] {
            assert_eq!(get(query).unwrap_err().to_string(), reason, "{query}");
        }
    }

    proptest! {
        #[test]
        fn every_value_round_trips(name in "[a-zé&=+% ]{1,9}", value in ".{0,20}", junk in "[b-z]{1,3}") {
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let query = format!("{junk}0&{}={}", encode(&name), encode(&value));
            prop_assert_eq!(parameter(&query, &name), Ok(Some(value)));
        }

        #[test]
        fn no_query_panics(query in ".{0,60}") {
            let _ = parameters(&query).count();
        }
    }
}

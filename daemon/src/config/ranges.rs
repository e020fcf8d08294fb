//! Checks of values: ranges and origins, with the error for a value that is not allowed.

/// An error: section, key, reason.
pub type Wrong = (&'static str, &'static str, String);

/// Checks that `origin` is as a browser sends it: scheme and host in lower case, a port unless it is the scheme's
/// own.
pub fn check_origin(origin: &str) -> Result<(), String> {
    let sound = origin == "null"
        || origin.split_once("://").is_some_and(|(scheme, host)| {
            !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '*', ' ', '@'])
        });
    if sound && origin.to_ascii_lowercase() == origin {
        return Ok(());
    }
    Err(format!(
        "\"{origin}\" must be an exact origin such as \"https://example.com\""
    ))
}

pub fn range<T: PartialOrd + std::fmt::Display>(
    section: &'static str,
    key: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), Wrong> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err((
        section,
        key,
        format!("must be between {least} and {most}, not {value}"),
    ))
}

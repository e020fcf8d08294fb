//! Checks of ranges, with the error for a value that is not allowed.

/// An error: section, key, reason.
pub type Wrong = (&'static str, &'static str, String);

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

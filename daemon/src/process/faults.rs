//! Fault injection for tests. In debug builds only: a release has none of it.
//!
//! `ASKR_FAULT="KIND PLACE [MARK]"`: the fault happens where PLACE is reached; with a mark, only for data
//! that contain it. KIND is `panic`, `abort` (the process, without a message) or `error`.

use std::io;

/// A thread or a task begins.
///
/// # Errors
/// If the fault is to be an error.
#[cfg(debug_assertions)]
pub fn part(name: &str) -> io::Result<()> {
    strike(name, b"")
}

/// Something is done with these data.
#[cfg(debug_assertions)]
pub fn at(place: &str, data: &[u8]) {
    let _ = strike(place, data);
}

#[cfg(debug_assertions)]
fn strike(place: &str, data: &[u8]) -> io::Result<()> {
    use std::sync::LazyLock;
    static FAULT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("ASKR_FAULT").ok());
    let Some(fault) = &*FAULT else {
        return Ok(());
    };
    let mut words = fault.splitn(3, ' ');
    let (kind, at) = (words.next(), words.next());
    let mark = words.next().unwrap_or_default();
    if at != Some(place) || memchr::memmem::find(data, mark.as_bytes()).is_none() {
        return Ok(());
    }
    match kind {
        Some("panic") => panic!("fault in {place}"),
        Some("abort") => std::process::abort(),
        _ => Err(io::Error::other(format!("fault in {place}"))),
    }
}

#[cfg(not(debug_assertions))]
pub fn part(_: &str) -> io::Result<()> {
    Ok(())
}

#[cfg(not(debug_assertions))]
pub fn at(_: &str, _: &[u8]) {}

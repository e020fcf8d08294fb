//! An event of a channel, as the index knows it.

#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub seq: u64,
    /// Hash of the custom id, 0 without one.
    pub id: u32,
    /// When it was published, in seconds since 1970, as its publisher says.
    pub time: u32,
}

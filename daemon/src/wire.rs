//! What a stream is told, in the form it wants. The forms themselves are `sse`'s.

use crate::live::Live;
use crate::members::Member;
use crate::notice::Notice;
use crate::sse;
use crate::stream::Format;

/// Somebody came or went.
pub fn notice(format: Format, notice: &Notice) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json => sse::notice(notice),
    }
}

/// Who is on a presence channel.
pub fn snapshot(format: Format, channel: &str, members: &[Member]) -> Vec<u8> {
    match format {
        Format::Raw | Format::Json => sse::members(channel, members),
    }
}

/// An event of `channel` that moves no cursor: it is older than what the stream has been told.
pub fn earlier(format: Format, live: &Live, channel: &str) -> Vec<u8> {
    match format {
        Format::Raw => sse::raw_without_id(&live.event),
        Format::Json => sse::json(&live.event, channel, live.cursor, false),
    }
}

//! The decoder of the first version, as it was: what it refuses, an askrd of that version counts as unreadable, and
//! 256 of those in a lap cost the ring its history. Do not bring it up to date.

use shared::rules;

pub fn decode(body: &[u8], head_len: u16, flags: u16) -> Result<(), &'static str> {
    if flags > 3 {
        return Err("unknown flags");
    }
    let head = body.get(..head_len as usize).ok_or("head")?;
    let mut rest = head;
    let (mut channels, mut last) = (Vec::new(), 1);
    while let [tag, len, behind @ ..] = rest
        && *tag != 0
        && behind.len() >= *len as usize
    {
        let (bytes, behind) = behind.split_at(*len as usize);
        if *tag < last || (*tag == last && *tag != 1) {
            return Err("order");
        }
        last = *tag;
        let checked = match *tag {
            1 => {
                channels.push(bytes);
                rules::channel(bytes)
            }
            2 => rules::event(bytes),
            3 => rules::id(bytes),
            4 if bytes.len() == 4 => Ok(()),
            5 => rules::except(bytes),
            _ => return Err("unknown tag"),
        };
        checked.map_err(|_| "name")?;
        rest = behind;
    }
    if channels.is_empty()
        || channels.len() > 100
        || rest.len() >= 8
        || rest.iter().any(|b| *b != 0)
    {
        return Err("form");
    }
    std::str::from_utf8(&body[head_len as usize..]).map_err(|_| "data")?;
    Ok(())
}

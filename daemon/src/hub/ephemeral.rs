//! An ephemeral message on its way to the subscribers of a channel, encoded once for each format that is needed.

use std::sync::{Arc, OnceLock};

use protocol::ephemeral::Ephemeral;
use protocol::format;
use protocol::format::{FORMATS, Format};

use crate::process::budget::{Budget, Held};

#[derive(Debug)]
pub struct EncodedEphemeral {
    pub channel: Arc<str>,
    pub what: Ephemeral,
    forms: [OnceLock<Held>; FORMATS],
}

impl EncodedEphemeral {
    /// A message that is not encoded yet.
    pub fn new(channel: Arc<str>, what: Ephemeral) -> Self {
        Self {
            channel,
            what,
            forms: Default::default(),
        }
    }

    pub fn form(&self, format: Format, budget: &Arc<Budget>) -> Held {
        let make = || budget.hold(format::ephemeral(format, &self.channel, &self.what));
        let place = &self.forms[format as usize];
        match place.get() {
            None if !budget.is_roomy() => make(),
            _ => place.get_or_init(make).clone(),
        }
    }

    /// Bytes it holds itself, without its forms.
    pub fn size(&self) -> usize {
        let bytes = match &self.what {
            Ephemeral::Joined { user, info, .. } => {
                user.len() + info.as_ref().map_or(0, |i| i.len())
            }
            Ephemeral::Left { user, .. } => user.len(),
            Ephemeral::Count(_) => 0,
            Ephemeral::Client {
                event, data, user, ..
            } => event.len() + data.len() + user.as_ref().map_or(0, String::len),
        };
        size_of::<Self>() + self.channel.len() + bytes
    }
}

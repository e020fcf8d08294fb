//! One worker's subscribers by channel. Single-threaded; joining and leaving cost the same for any number of them.

use std::collections::HashMap;
use std::rc::Rc;

use slab::Slab;

/// A stream among a channel's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub slot: u32,
    /// Which of the stream's subscriptions this is.
    pub sub: u32,
}

/// A stream's side of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    pub channel: u32,
    /// Where among the channel's members.
    pub at: u32,
}

#[derive(Debug, Default)]
pub struct Subscriptions {
    ids: HashMap<Rc<str>, u32>,
    channels: Slab<Channel>,
}

#[derive(Debug)]
struct Channel {
    name: Rc<str>,
    members: Vec<Member>,
}

/// What leaving changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// This member moved to the place that became free; its stream is to be updated.
    pub moved: Option<Member>,
    /// The channel's name, if that was its last member here.
    pub last: Option<Rc<str>>,
}

impl Subscriptions {
    /// Returns also whether the channel is new here.
    pub fn join(&mut self, name: &str, member: Member) -> (Subscription, bool) {
        let (channel, first) = match self.ids.get(name) {
            Some(channel) => (*channel, false),
            None => {
                let name: Rc<str> = name.into();
                let entry = Channel {
                    name: name.clone(),
                    members: Vec::with_capacity(1),
                };
                let channel = self.channels.insert(entry) as u32;
                self.ids.insert(name, channel);
                (channel, true)
            }
        };
        let members = &mut self.channels[channel as usize].members;
        members.push(member);
        (
            Subscription {
                channel,
                at: members.len() as u32 - 1,
            },
            first,
        )
    }

    pub fn leave(&mut self, subscription: Subscription) -> Left {
        let Subscription { channel, at } = subscription;
        let members = &mut self.channels[channel as usize].members;
        members.swap_remove(at as usize);
        let moved = members.get(at as usize).copied();
        // Memory for many members is freed after they have left.
        if members.len() < members.capacity() / 4 {
            members.shrink_to(members.len() * 2);
        }
        let last = members.is_empty().then(|| {
            let name = self.channels.remove(channel as usize).name;
            self.ids.remove(&name);
            name
        });
        Left { moved, last }
    }

    /// The stream numbers this subscription `sub` from now on.
    pub fn renumber(&mut self, subscription: Subscription, sub: u32) {
        let channel = &mut self.channels[subscription.channel as usize];
        channel.members[subscription.at as usize].sub = sub;
    }

    /// Each channel and how many subscriptions it has here.
    pub fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        let channels = self.channels.iter();
        channels.map(|(_, channel)| (&*channel.name, channel.members.len()))
    }

    /// The channel's members here; none for an unknown channel.
    pub fn members(&self, name: &str) -> &[Member] {
        let id = self.ids.get(name);
        id.map_or(&[], |id| &self.channels[*id as usize].members)
    }

    /// The number of a channel that has members here.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub fn name(&self, channel: u32) -> &Rc<str> {
        &self.channels[channel as usize].name
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn members_are_those_who_joined_and_did_not_leave(
            steps in prop::collection::vec((0..12u32, 0..5u8), 0..200)
        ) {
            let mut table = Subscriptions::default();
            let mut streams: BTreeMap<(u32, u8), Subscription> = BTreeMap::new();
            for (slot, channel) in steps {
                let name = format!("c{channel}");
                let crowd = streams.keys().filter(|(_, c)| *c == channel).count();
                match streams.remove(&(slot, channel)) {
                    None => {
                        let (sub, first) = table.join(&name, Member { slot, sub: channel.into() });
                        prop_assert_eq!(first, crowd == 0);
                        streams.insert((slot, channel), sub);
                    }
                    Some(sub) => {
                        let left = table.leave(sub);
                        prop_assert_eq!(left.last.is_some(), crowd == 1);
                        if let Some(moved) = left.moved {
                            streams.get_mut(&(moved.slot, moved.sub as u8)).unwrap().at = sub.at;
                        }
                    }
                }
                for channel in 0..5u8 {
                    let members: BTreeSet<u32> =
                        table.members(&format!("c{channel}")).iter().map(|m| m.slot).collect();
                    let model: BTreeSet<u32> =
                        streams.keys().filter(|(_, c)| *c == channel).map(|(s, _)| *s).collect();
                    prop_assert_eq!(members, model);
                }
            }
        }
    }
}

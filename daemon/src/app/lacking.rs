//! What an answer that is about all hosts lacks. Its body has no place for that; its headers do.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::app::application::App;

const HOSTS: HeaderName = HeaderName::from_static("askr-hosts-missing");
const MEMBERS: HeaderName = HeaderName::from_static("askr-members");
const HISTORY: HeaderName = HeaderName::from_static("askr-history");
const STALE: HeaderValue = HeaderValue::from_static("stale");

#[derive(Clone, Copy, Debug, Default)]
pub struct Lacking {
    /// Hosts that did not answer in time, whose part is lacking.
    pub hosts: usize,
    /// Members of other hosts are those of when they were last heard of.
    pub members: bool,
    /// What other hosts have published since they were last heard of is not there.
    pub events: bool,
}

impl Lacking {
    /// The answer is about members.
    pub fn of_members(&mut self, app: &App) {
        self.members |= app.peers.are_cut_off();
    }

    /// The answer is about events.
    pub fn of_events(&mut self, app: &App) {
        self.events |= app.peers.are_cut_off();
    }

    /// The answer is about something that was asked of the others.
    pub fn of_hosts(&mut self, missing: usize) {
        self.hosts = missing.max(self.hosts);
    }

    pub fn say(self, headers: &mut HeaderMap) {
        if self.hosts > 0 {
            headers.insert(HOSTS, self.hosts.into());
        }
        for (name, is_stale) in [(MEMBERS, self.members), (HISTORY, self.events)] {
            if is_stale {
                headers.insert(name, STALE);
            }
        }
    }
}

//! What the unit tests share: ready events, and (for the tests of the running daemon too) a receiver.

use std::sync::Arc;

use shared::cursor::{Cursor, Epoch};
use shared::event::{Event, EventRef, Origin};

use crate::app::application::{App, Quota};
use crate::auth::authority::Authority;
use crate::hub::hub::Bus;
use crate::hub::presence;
use crate::hub::roster::Members;
use crate::protocol::pusher::signature::Credentials;
use crate::protocol::socket_id::Prover;

pub const EPOCH: Epoch = Epoch([10, 11, 12, 13, 14, 15]);

pub fn cursor(seq: u64) -> Cursor {
    Cursor { epoch: EPOCH, seq }
}

/// None if the names break the rules.
pub fn event(
    channels: &[&str],
    name: Option<&str>,
    id: Option<&str>,
    retry: Option<u32>,
    data: &str,
) -> Option<Event> {
    let channels: Vec<&[u8]> = channels.iter().map(|c| c.as_bytes()).collect();
    let source = EventRef {
        channels: &channels,
        event: name.map(str::as_bytes),
        id: id.map(str::as_bytes),
        retry,
        except: None,
        origin: Origin::Php,
        data: data.as_bytes(),
    };
    source.check().ok()?;
    let mut body = Vec::new();
    source.encode_head(&mut body);
    let head_len = body.len() as u16;
    body.extend_from_slice(source.data);
    Some(Event::decode(body.into(), head_len, source.flags(), 0).expect("checked"))
}

/// An application that nobody may enter but by public channels.
pub fn app(bus: Arc<Bus>) -> Arc<App> {
    Arc::new(App {
        id: "test".into(),
        ring: "/test".parse().unwrap(),
        bus,
        authority: Authority::default(),
        members: Members::new(presence::Limits::default(), true),
        prover: Prover::new("test", &[]).unwrap(),
        quota: Quota::new(0, 0),
        credentials: Credentials {
            key: "test".into(),
            secrets: Vec::new(),
        },
        api_credentials: Credentials {
            key: "test".into(),
            secrets: Vec::new(),
        },
        publishing: crate::app::publishing::Publishing::new(
            shared::publisher::Publisher::new(),
            1000,
        ),
        watchlists: Default::default(),
        client_events: crate::app::application::Budget::new(1000),
    })
}

pub mod sse;

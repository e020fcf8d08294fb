//! `askr_status(): array`: what this process knows of its ring. `askr.stub.php` lists the keys.

use ext_php_rs::types::Zval;
use ext_php_rs::zend::ExecuteData;
use shared::publisher::{Failure, Status};

use crate::line::{Line, line};
use crate::state::state;
use crate::zend::{self, Params, Thrown};

const DISABLED: &str = "disabled by askr.enabled = 0";

pub extern "C" fn handler(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(array) = status(frame) {
            *result = array;
        }
    });
}

fn status(frame: &mut ExecuteData) -> Result<Zval, Thrown> {
    Params::new(frame, 0, 0)?;
    let enabled = state().enabled.get();
    let status = current();
    let ring = line!("{}", status.ring);
    let reason = status.reason.as_ref().map(|reason| line!("{reason}"));
    let epoch = status.epoch.as_ref().map(|epoch| line!("{epoch}"));
    // Only plain numbers of it are left: the arrays below may run out of PHP's memory.
    let status = Status {
        ring: String::new(),
        reason: None,
        epoch: None,
        ..status
    };

    let mut failures = Zval::new_array();
    for (failure, count) in Failure::ALL.into_iter().zip(status.failures) {
        zend::set(&mut failures, failure.key(), int(count));
    }
    let mut features = Zval::new_array();
    for name in status.features.names() {
        if let Some(list) = features.array_mut() {
            // Appending to a short list cannot fail.
            let _ = list.push(name);
        }
    }
    let mut array = Zval::new_array();
    zend::set(&mut array, "enabled", enabled);
    zend::set(&mut array, "attached", status.attached);
    zend::set(&mut array, "ring", ring.as_str());
    zend::set(&mut array, "reason", reason.as_ref().map(Line::as_str));
    zend::set(&mut array, "epoch", epoch.as_ref().map(Line::as_str));
    zend::set(&mut array, "slots", int(status.slots));
    zend::set(&mut array, "slot_size", int(status.slot_size));
    zend::set(&mut array, "arena_size", int(status.arena_size));
    zend::set(&mut array, "writers", int(status.writers));
    zend::set(&mut array, "max_payload", int(status.max_payload));
    zend::set(&mut array, "tail", int(status.tail));
    zend::set(&mut array, "history_seconds", status.history_seconds);
    zend::set(&mut array, "daemon_alive", status.daemon_alive);
    zend::set(&mut array, "daemon_read", int(status.daemon_read));
    zend::set(&mut array, "published", int(status.published));
    zend::set(&mut array, "failures", failures);
    zend::set(&mut array, "features", features);
    zend::set(&mut array, "keys_ignored", int(status.keys_ignored));
    Ok(array)
}

/// The publisher's view; when disabled, without looking at the ring.
pub fn current() -> Status {
    let state = state();
    if state.enabled.get() {
        return state.publisher.borrow_mut().status();
    }
    let ring = state.ring.borrow().name.to_string();
    Status {
        ring,
        reason: Some(DISABLED.to_owned()),
        ..Status::default()
    }
}

/// Positions stay below 2^63, so PHP's integers hold them.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

//! `askr_broadcast(array|string $channel, string $payload, ?string $event = null, ?string $id = null,
//! ?int $retry = null, ?string $except = null, ?string $key = null): bool`
//!
//! Everything that may run PHP code (coercion, `__toString()`, errors) comes before the publish; what
//! lies between the claim of a place in the ring and its commit only copies bytes.

use ext_php_rs::types::Zval;
use ext_php_rs::zend::ExecuteData;
use shared::event::EventRef;
use shared::publisher::{Failure, PublishError};

use crate::failure;
use crate::message::{Message, Place};
use crate::state::state;
use crate::zend::{self, Params, Thrown};

pub extern "C" fn handler(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        // After a throw the result is left null, as core functions do.
        if let Ok(published) = broadcast(frame) {
            result.set_bool(published);
        }
    });
}

fn broadcast(frame: &mut ExecuteData) -> Result<bool, Thrown> {
    let mut params = Params::new(frame, 2, 7)?;
    let message = Message {
        place: Place::Arguments,
        channel: params.array_or_string()?,
        payload: params.string()?,
        event: params.string_or_null()?,
        id: params.string_or_null()?,
        retry: params.long_or_null()?,
        except: params.string_or_null()?,
        key: params.string_or_null()?,
    };
    message.with_event(|event| publish(&message, event))
}

#[inline]
fn publish(message: &Message<'_>, event: &EventRef<'_>) -> Result<bool, Thrown> {
    let state = state();
    if !state.enabled.get() {
        return Ok(false);
    }
    // A statement of its own: the borrow ends before anything of PHP's is called.
    let published = state.publisher.borrow_mut().publish(event);
    match published {
        Ok(_) => {
            failure::over();
            Ok(true)
        }
        Err(error) => not_published(message, error),
    }
}

/// An event too large for the ring is the caller's mistake, the rest is an outage.
#[cold]
fn not_published(message: &Message<'_>, error: PublishError) -> Result<bool, Thrown> {
    if error.failure != Failure::TooLarge {
        return failure::report(error);
    }
    drop(error);
    let limit = state().publisher.borrow_mut().max_payload();
    Err(message.too_large(limit.unwrap_or_default()))
}

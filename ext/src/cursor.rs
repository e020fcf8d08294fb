//! `askr_cursor(): ?string`: the place in the ring before which everything lies that was published until now.
//!
//! For every page that a server renders, so it asks nobody: one look at the clock, three at the ring, one string. Across
//! hosts it is a vector, which askrd keeps in the segment.

use ext_php_rs::types::Zval;
use ext_php_rs::zend::ExecuteData;
use shared::publisher::Place;

use crate::state::state;
use crate::zend::{self, Params, Thrown};

pub extern "C" fn handler(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        // After a throw, and without a ring, the result is left null.
        match place(frame) {
            Ok(Some(Place::Cursor(cursor))) => {
                let known = &state().cursor_text;
                // On the stack, as making the string may never return.
                let mut text = known.get();
                let bytes = text.of(cursor);
                zend::set_string(result, bytes);
                known.set(text);
            }
            Ok(Some(Place::Vector(vector))) => {
                let text = vector.to_string().into_bytes();
                drop(vector);
                zend::with_memory(text, |text| zend::set_string(result, text));
            }
            Ok(None) | Err(_) => {}
        }
    });
}

/// None without a ring: the page then loads its state as if nothing came after. That is no failed publish, so
/// `askr.on_failure` has no say; `askr_status()` tells the reason.
fn place(frame: &mut ExecuteData) -> Result<Option<Place>, Thrown> {
    Params::new(frame, 0, 0)?;
    let state = state();
    if !state.enabled.get() {
        return Ok(None);
    }
    Ok(state.publisher.borrow_mut().place().ok())
}

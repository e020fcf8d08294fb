//! `askr_cursor(): ?string`: the place in the ring before which everything lies that was published until now.
//!
//! For every page that a server renders, so it asks nobody: one look at the clock, two at the ring, one string.

use ext_php_rs::types::Zval;
use ext_php_rs::zend::ExecuteData;
use shared::cursor::Cursor;

use crate::state::state;
use crate::zend::{self, Params, Thrown};

pub extern "C" fn handler(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        // After a throw, and without a ring, the result is left null.
        if let Ok(Some(cursor)) = cursor(frame) {
            let known = &state().cursor_text;
            // On the stack, as making the string may never return.
            let mut text = known.get();
            let bytes = text.of(cursor);
            zend::set_string(result, bytes);
            known.set(text);
        }
    });
}

/// None without a ring: the page then loads its state as if nothing came after. That is no failed publish, so
/// `askr.on_failure` has no say; `askr_status()` tells the reason.
fn cursor(frame: &mut ExecuteData) -> Result<Option<Cursor>, Thrown> {
    Params::new(frame, 0, 0)?;
    let state = state();
    if !state.enabled.get() {
        return Ok(None);
    }
    Ok(state.publisher.borrow_mut().cursor().ok())
}

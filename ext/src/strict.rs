//! Typed events: `askr.strict`, `askr.events`, `askr_register_event(string ...$names): void` and
//! `askr_events(): array`.
//!
//! The names of php.ini are the pool's or the directory's, those that were registered the request's.

use ext_php_rs::types::Zval;
use ext_php_rs::zend::ExecuteData;
use shared::event_names::{EventNames, nearest};
use shared::rules::MAX_EVENT;

use crate::line::{Line, line};
use crate::state::{State, state};
use crate::zend::{self, Params, Thrown};

pub extern "C" fn register(frame: &mut ExecuteData, _: &mut Zval) {
    zend::guard(|| {
        // It returns nothing; what is thrown is noted by PHP.
        let _ = register_events(frame);
    });
}

pub extern "C" fn events(frame: &mut ExecuteData, result: &mut Zval) {
    zend::guard(|| {
        if let Ok(events) = all_events(frame) {
            *result = events;
        }
    });
}

/// The end of a request.
pub fn forget_registered() {
    let registered = &state().registered;
    // Most requests register nothing.
    if registered.borrow().iter().next().is_some() {
        registered.replace(EventNames::new());
    }
}

/// Why an event may not have this name, or none.
///
/// # Errors
/// In strict mode, if it is not registered. The phrase after the argument's name.
#[inline]
#[expect(
    clippy::result_large_err,
    reason = "a line is not on the heap, see `zend`; and it is rare"
)]
pub fn check(name: Option<&[u8]>) -> Result<(), Line> {
    let state = state();
    if state.strict.get() {
        check_strictly(state, name)
    } else {
        Ok(())
    }
}

#[expect(
    clippy::result_large_err,
    reason = "a line is not on the heap, see `zend`; and it is rare"
)]
fn check_strictly(state: &State, name: Option<&[u8]>) -> Result<(), Line> {
    let Some(name) = name else {
        return Err(line!(
            "must be a registered event while askr.strict = 1, none given"
        ));
    };
    let (configured, registered) = (state.events.borrow(), state.registered.borrow());
    if configured.contains(name) || registered.contains(name) {
        return Ok(());
    }
    let near = nearest(name, configured.iter().chain(registered.iter()));
    let name = String::from_utf8_lossy(name);
    Err(match near {
        Some(near) => line!(
            "must be a registered event while askr.strict = 1, \"{name}\" is not; did you mean \"{}\"?",
            String::from_utf8_lossy(near)
        ),
        None => line!(
            "must be a registered event while askr.strict = 1, \"{name}\" is not, nor one that is nearly the same"
        ),
    })
}

/// All names, or none if one of them cannot be an event's.
fn register_events(frame: &mut ExecuteData) -> Result<(), Thrown> {
    let mut params = Params::variadic(frame)?;
    // Coercion may run PHP code, which may register names itself.
    let count = params.given();
    for _ in 0..count {
        params.string()?;
    }
    params.again();
    let mut all = state().registered.borrow().clone();
    for n in 1..=count {
        let name = params.string()?;
        if let Err(why) = all.add(name) {
            drop(all);
            return Err(zend::value_error(n, &line!("{why}")));
        }
    }
    state().registered.replace(all);
    Ok(())
}

/// In the order of their bytes, each once.
fn all_events(frame: &mut ExecuteData) -> Result<Zval, Thrown> {
    Params::new(frame, 0, 0)?;
    let state = state();
    let mut events = Zval::new_array();
    let mut name = [0; MAX_EVENT];
    let mut len = None;
    loop {
        // Copied, as PHP may run out of memory below: no borrow may be held then.
        let last = len.map(|len: usize| &name[..len]);
        let next = {
            let (configured, registered) = (state.events.borrow(), state.registered.borrow());
            let next = [configured.after(last), registered.after(last)];
            next.into_iter().flatten().min().map(|next| {
                let mut copy = [0; MAX_EVENT];
                copy[..next.len()].copy_from_slice(next);
                (copy, next.len())
            })
        };
        let Some((copy, length)) = next else {
            return Ok(events);
        };
        (name, len) = (copy, Some(length));
        let mut string = Zval::new();
        zend::set_string(&mut string, &name[..length]);
        if let Some(list) = events.array_mut() {
            // Appending to a list cannot fail.
            let _ = list.push(string);
        }
    }
}

//! The settings. Each value is checked when it is set and kept parsed in `state`, so that a publish
//! never looks one up.
//!
//! | setting | default | changeable | |
//! |---|---|---|---|
//! | `askr.ring` | `/askr` | php.ini, pool | shared-memory name, or path on tmpfs |
//! | `askr.enabled` | `1` | php.ini, pool | 0: nothing is published |
//! | `askr.on_failure` | `log` | anywhere | `silent`, `log`, `warning`, `exception` |
//! | `askr.ring_owner` | none | php.ini, pool | one more user that may own the ring |
//! | `askr.ring_group` | none | php.ini, pool | a group whose ring is believed, whoever owns it |
//! | `askr.secret_file` | none | php.ini, pool | absolute path of the secrets for `askr_token()` |
//! | `askr.control` | `/run/askr/control.sock` | php.ini, pool | askrd's control socket; empty: none, and askrd is not told of failures |
//! | `askr.mercure` | `1` | php.ini | 0: `mercure_publish()` is not declared |
//! | `askr.mercure_path` | `/.well-known/mercure` | php.ini, pool | path of the hub: what is below it is its own |
//! | `askr.events` | none | anywhere | names that events may have in strict mode |
//! | `askr.strict` | `0` | anywhere | 1: an event with another name, or none, is refused |
//!
//! The ring and whom to trust with it are the administrator's, not a script's. How a script wants to
//! hear of a failure is its own matter: a queue worker wants the exception, the page beside it the log. Strict mode finds
//! mistakes and holds nobody off, so a directory (.user.ini) or a framework may switch it.

use std::path::PathBuf;
use std::str::FromStr;

use ext_php_rs::flags::IniEntryPermission as Changeable;
use ext_php_rs::zend::{IniEntryDef, IniEntryDefs};
use shared::event_names::EventNames;
use shared::failure_report;
use shared::mercure::hub_url::HubUrl;
use shared::name::RingName;
use shared::publisher::AttachOptions;

use crate::outage::OnFailure;
use crate::state::state;
use crate::zend::{self, ini_entry};

/// Bytes of a user's or group's name: Linux allows 32.
const MAX_USER: usize = 32;
/// Bytes of a Unix socket's path: `sun_path` of unix(7) less its NUL.
const MAX_SOCKET: usize = 107;

static ENTRIES: IniEntryDefs<12> = IniEntryDefs::new([
    ini_entry(c"askr.ring", c"/askr", Changeable::System, ring),
    ini_entry(c"askr.enabled", c"1", Changeable::System, enabled),
    ini_entry(c"askr.on_failure", c"log", Changeable::All, on_failure),
    ini_entry(c"askr.ring_owner", c"", Changeable::System, ring_owner),
    ini_entry(c"askr.ring_group", c"", Changeable::System, ring_group),
    ini_entry(c"askr.secret_file", c"", Changeable::System, secret_file),
    ini_entry(
        c"askr.control",
        c"/run/askr/control.sock",
        Changeable::System,
        control,
    ),
    ini_entry(c"askr.events", c"", Changeable::All, events),
    ini_entry(c"askr.strict", c"0", Changeable::All, strict),
    ini_entry(c"askr.mercure", c"1", Changeable::System, mercure),
    ini_entry(
        c"askr.mercure_path",
        c"/.well-known/mercure",
        Changeable::System,
        mercure_path,
    ),
    IniEntryDef::end(),
]);

/// Only at module startup. PHP calls each handler below with the configured value.
pub fn register(module_number: i32) {
    IniEntryDef::register(ENTRIES.as_slice(), module_number);
    let default = zend::default_unless_configured("askr.on_failure");
    state().on_failure_default.set(default);
}

fn ring(value: &[u8]) -> Result<(), String> {
    let name = std::str::from_utf8(value).map_err(|_| "must be valid UTF-8")?;
    let name = RingName::from_str(name).map_err(|why| why.to_string())?;
    configure(|options| std::mem::replace(&mut options.name, name.clone()) != name);
    Ok(())
}

fn ring_owner(value: &[u8]) -> Result<(), String> {
    let owner = name_or_id(value, "user")?;
    configure(|options| std::mem::replace(&mut options.owner, owner.clone()) != owner);
    Ok(())
}

fn ring_group(value: &[u8]) -> Result<(), String> {
    let group = name_or_id(value, "group")?;
    configure(|options| std::mem::replace(&mut options.group, group.clone()) != group);
    Ok(())
}

/// Of a user or a group; none if it is empty.
fn name_or_id(value: &[u8], of: &str) -> Result<Option<String>, String> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-$".contains(b);
    if value.len() > MAX_USER || !value.iter().all(plain) {
        return Err(format!(
            "must be empty, a {of}'s name of at most {MAX_USER} bytes, or a {of}'s id"
        ));
    }
    Ok((!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned()))
}

/// Only where it is: whether it can be read is seen by whoever signs, not by each start of PHP.
fn secret_file(value: &[u8]) -> Result<(), String> {
    let path = std::str::from_utf8(value).map_err(|_| "must be valid UTF-8")?;
    if !path.is_empty() && (!path.starts_with('/') || path.contains('\0')) {
        return Err("must be empty or an absolute path".to_owned());
    }
    *state().secret_file.borrow_mut() = (!path.is_empty()).then(|| path.into());
    Ok(())
}

/// Only where it is, as above.
fn control(value: &[u8]) -> Result<(), String> {
    let path = std::str::from_utf8(value).map_err(|_| "must be valid UTF-8")?;
    let sound = path.starts_with('/') && path.len() <= MAX_SOCKET && !path.contains('\0');
    if !path.is_empty() && !sound {
        return Err(format!(
            "must be empty or an absolute path of at most {MAX_SOCKET} bytes"
        ));
    }
    let control: Option<PathBuf> = (!path.is_empty()).then(|| path.into());
    let reports = control.as_deref().map(failure_report::beside);
    state().publisher.borrow_mut().report_to(reports);
    *state().control.borrow_mut() = control;
    Ok(())
}

/// As PHP reads switches, but what is neither on nor off is a mistake, not "off".
fn switch(value: &[u8]) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_slice() {
        b"1" | b"on" | b"yes" | b"true" => Ok(true),
        b"" | b"0" | b"off" | b"no" | b"false" => Ok(false),
        _ => Err("must be 1 (on) or 0 (off)".to_owned()),
    }
}

fn enabled(value: &[u8]) -> Result<(), String> {
    state().enabled.set(switch(value)?);
    Ok(())
}

/// Whether the function is declared is decided at startup: later values have no effect.
fn mercure(value: &[u8]) -> Result<(), String> {
    state().mercure.set(switch(value)?);
    Ok(())
}

fn mercure_path(value: &[u8]) -> Result<(), String> {
    let path = std::str::from_utf8(value).ok();
    let hub = path.and_then(|path| HubUrl::at_path(path).ok());
    let hub =
        hub.ok_or("must be a path such as \"/.well-known/mercure\", without a slash at the end")?;
    *state().mercure_hub.borrow_mut() = hub;
    Ok(())
}

fn strict(value: &[u8]) -> Result<(), String> {
    state().strict.set(switch(value)?);
    Ok(())
}

fn events(value: &[u8]) -> Result<(), String> {
    state().events.replace(EventNames::parse(value)?);
    Ok(())
}

fn on_failure(value: &[u8]) -> Result<(), String> {
    let policy = OnFailure::from_ini(value)
        .ok_or(r#"must be one of "silent", "log", "warning" or "exception""#)?;
    state().on_failure.set(policy);
    Ok(())
}

/// Hands the publisher its options if `change` changed them; it attaches when it first publishes.
/// Apache sets and restores `php_admin_value` around each request, which must not cost an attach.
fn configure(change: impl FnOnce(&mut AttachOptions) -> bool) {
    let state = state();
    let mut options = state.ring.borrow_mut();
    if change(&mut options) {
        state.publisher.borrow_mut().configure(options.clone());
    }
}

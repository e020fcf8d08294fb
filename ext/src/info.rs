//! `phpinfo()`: version, state of the ring, settings.

use ext_php_rs::zend::ModuleEntry;

use crate::line::line;
use crate::{state, status, zend};

pub extern "C" fn print(module: *mut ModuleEntry) {
    zend::guard_hook(|| {
        let enabled = state::state().enabled.get();
        let status = status::current();
        let support = line!("{}", if enabled { "enabled" } else { "disabled" });
        let version = line!("{}", env!("CARGO_PKG_VERSION"));
        let ring = match (&status.reason, status.attached) {
            (None, true) => line!("attached to {}", status.ring),
            (Some(why), true) => line!(
                "attached to {}; the last event was not published: {why}",
                status.ring
            ),
            (why, false) => line!("not attached: {}", why.as_deref().unwrap_or("never tried")),
        };
        let daemon = line!(
            "{}",
            if status.daemon_alive {
                "running"
            } else {
                "not seen"
            }
        );
        let payload = match status.max_payload {
            0 => line!("unknown"),
            bytes => line!("{bytes} bytes"),
        };
        drop(status);
        zend::info_table(&[
            (c"Askr support", &support),
            (c"Version", &version),
            (c"Ring", &ring),
            (c"Daemon (askrd)", &daemon),
            (c"Largest payload", &payload),
        ]);
        zend::info_ini(module);
        Ok(())
    });
}

//! `askrd publish`: publishes one event to the ring, as PHP would.

use std::io::Read;
use std::process::ExitCode;

use shared::event::{EventRef, Origin};
use shared::failure_report;
use shared::publisher::{AttachOptions, Publisher};

use crate::cli::arguments::PublishArgs;
use crate::config::Settings;

/// Publishes one event.
///
/// # Errors
/// A sentence that names the invalid argument, or the ring and the remedy.
pub fn publish(settings: &Settings, arguments: &PublishArgs) -> Result<ExitCode, String> {
    let payload = match arguments.payload.as_str() {
        "-" => read_payload()?,
        text => text.as_bytes().to_vec(),
    };
    let channels = [arguments.channel.as_bytes()];
    let event = EventRef {
        channels: &channels,
        event: arguments.event.as_deref().map(str::as_bytes),
        id: arguments.id.as_deref().map(str::as_bytes),
        retry: arguments.retry,
        except: arguments.except.as_deref().map(str::as_bytes),
        origin: Origin::CommandLine,
        data: &payload,
        ..EventRef::default()
    };
    event
        .check()
        .map_err(|(argument, why)| format!("{argument} {why}"))?;
    let mut publisher = Publisher::new();
    publisher.configure(AttachOptions {
        name: settings.ring.name(),
        owner: settings.ring.owner().map(str::to_owned),
        group: None,
    });
    let control = settings.server.control_path();
    publisher.report_to(control.as_deref().map(failure_report::beside));
    publisher.publish(&event).map_err(|why| why.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn read_payload() -> Result<Vec<u8>, String> {
    /// A quarter of the largest arena, which is more than anybody publishes by hand.
    const MAX: u64 = 256 << 20;
    let mut payload = Vec::new();
    let mut input = std::io::stdin().lock().take(MAX + 1);
    input
        .read_to_end(&mut payload)
        .map_err(|why| format!("payload cannot be read: {why}"))?;
    if payload.len() as u64 > MAX {
        return Err(format!("payload must be at most {MAX} bytes long"));
    }
    Ok(payload)
}

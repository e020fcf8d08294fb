//! Memory that a crowd has left behind goes back to the system. The allocator keeps what was freed between
//! things that stay, and that is most of it after thousands of requests came at once and went.

#![allow(unsafe_code)]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::process::requests::Requests;

/// How often it is looked at. It costs every thread that needs memory meanwhile some milliseconds.
const LOOK: Duration = Duration::from_secs(2);
/// Bytes of requests that must have gone since the last look for it to be worth that: a crowd, not the everyday.
const WORTH: usize = 4 << 20;

/// Looks for as long as the daemon runs.
pub async fn run(requests: Arc<Requests>) -> Infallible {
    loop {
        tokio::time::sleep(LOOK).await;
        if requests.gone() >= WORTH {
            give_back();
        }
    }
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: it takes no address and may be called from any thread at any time (malloc_trim(3): MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators have their own ways.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

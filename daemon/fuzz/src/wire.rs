// The protocols over WebSockets, taken by their files into the root of a target, where their paths
// (`crate::auth::…`) lead to the right places: include!("../src/wire.rs").

#[path = "../../src/channel.rs"]
mod channel;
#[path = "../../src/gap.rs"]
mod gap;
#[path = "../../src/plain/mod.rs"]
mod plain;
#[path = "../../src/pusher/mod.rs"]
mod pusher;
#[path = "../../src/auth/pusher.rs"]
pub mod signatures;
#[path = "../../src/ws/mod.rs"]
mod ws;

use askrd_fuzz::{info, mac};

mod auth {
    pub use crate::signatures as pusher;
    pub use askrd_fuzz::{authorizer, info, mac};
}

const KEY: &str = "278d425bdf160c739803";
const SECRET: &str = "7ad3773142a6692b25b8";

fn credentials() -> signatures::Credentials {
    signatures::Credentials {
        key: KEY.into(),
        secrets: vec![shared::secret::Secret::new(SECRET).expect("long enough")],
    }
}

/// Lower-case digits of the right code.
fn code(text: &str) -> String {
    mac::hex(&mac::sign(SECRET.as_bytes(), &[text.as_bytes()]))
}

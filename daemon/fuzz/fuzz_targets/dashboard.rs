//! Any text as what a browser shows the dashboard: a header of cookies, a query, a body. Nothing but a session that the
//! secret has made is one, and what is refused is refused with one line.
#![no_main]

use askrd::observe::dashboard::asked;
use askrd::observe::dashboard::login;
use askrd::observe::dashboard::login::{Login, Tried};
use askrd::process::client_key::ClientKey;
use libfuzzer_sys::fuzz_target;
use shared::secret::Secret;

fuzz_target!(|data: &[u8]| {
    for refused in [asked::target(data, &[]).err(), asked::order(data).err()] {
        assert!(refused.is_none_or(|(status, why)| status.is_client_error() && !why.contains('\n')));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    assert!(asked::named(&[], text).is_err());
    // Another secret for each run would need its randomness: this one is not in the corpus.
    let secrets = [Secret::new("a-secret-that-is-not-in-it").expect("long enough")];
    let names = login::names(Some(8091));
    let cookies = names.iter().flat_map(|name| login::cookies_of(text, name));
    for cookie in cookies.chain([text]) {
        assert_eq!(login::session(&secrets, cookie, 1_000_000), None);
    }
    let mut login = Login::new().expect("randomness");
    if text != "a-secret-that-is-not-in-it" {
        let tried = login.attempt(&secrets, ClientKey::NONE, text, 1_000_000);
        assert_eq!(tried, Tried::Wrong);
    }
});

//! Any text as what a browser shows the dashboard: a header of cookies, a query, a body. Nothing but a session that the
//! secret has made is one, and what is refused is refused with one line.
#![no_main]

use askrd::observe::dashboard::asked;
use askrd::observe::dashboard::login::{Login, Tried, cookies_of};
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
    let secret = Secret::new("a-secret-that-is-not-in-it").expect("long enough");
    let mut login = Login::new(vec![secret]).expect("randomness");
    for cookie in cookies_of(text).chain([text]) {
        assert_eq!(login.session(cookie, 1_000_000), None);
    }
    if text != "a-secret-that-is-not-in-it" {
        assert_eq!(login.attempt(ClientKey::NONE, text, 1_000_000), Tried::Wrong);
    }
});

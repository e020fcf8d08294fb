//! Says at the start, in a line for each application, what is open to whom.

use crate::config;
use crate::config::Settings;
use crate::process::refusals::listed;
use crate::server::preflight::Prepared;

pub fn lines(settings: &Settings, prepared: &[Prepared]) -> Vec<String> {
    let hosts = match &settings.server.allowed_hosts[..] {
        [] => "any host".to_owned(),
        hosts => format!("the hosts {}", listed(hosts)),
    };
    let of = |prepared: &Prepared| {
        let app = &prepared.app;
        let line = format!(
            "application {}: public channels are open to pages of {}, under {hosts}; private channels to {}; \
             publishing over HTTP to {}",
            app.id,
            pages(app),
            viewers(prepared),
            match prepared.secrets.is_empty() {
                true => "nobody (no secret is set)",
                false => "who signs with its secret",
            },
        );
        line + &hub(prepared)
    };
    prepared.iter().map(of).collect()
}

fn pages(app: &config::App) -> String {
    match &app.allowed_origins[..] {
        [] => "the same origin".to_owned(),
        origins => format!("the same origin and {}", listed(origins)),
    }
}

fn viewers(prepared: &Prepared) -> String {
    let app = &prepared.app;
    let mut ways = Vec::new();
    if prepared.tokens.is_some() {
        ways.push("who has a token".to_owned());
    }
    if app.asks("pusher") && !prepared.secrets.is_empty() {
        ways.push("whom the application signs for".to_owned());
    }
    if app.asks("http") && !app.auth_url.is_empty() {
        ways.push(format!("whom {} lets in", app.auth_url));
    }
    match ways.is_empty() {
        true => "nobody (no secret is set, and no auth_url)".to_owned(),
        false => ways.join(" or "),
    }
}

/// What its Mercure hub opens.
fn hub(prepared: &Prepared) -> String {
    let Some(tokens) = &prepared.hub else {
        return String::new();
    };
    let mut who = Vec::new();
    if !tokens.issuers.is_empty() {
        let issuers = tokens.issuers.iter().map(|(name, _)| name);
        who.push(format!("tokens of {}", listed(issuers)));
    }
    if tokens.speaks_legacy() {
        who.push("tokens of version 0.x, which may be without an end and in URLs".to_owned());
    }
    format!(
        "; its Mercure hub {} to {}, public updates {}",
        tokens.hub.as_str(),
        who.join(" and "),
        match prepared.app.mercure_anonymous {
            true => "to anybody",
            false => "to whoever has one of them",
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::preflight;

    #[test]
    fn it_says_what_a_hub_opens() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, key: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, format!("HS256 {key}")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .unwrap();
            path.display().to_string()
        };
        let one = file("one", "0123456789abcdef0123456789abcdef");
        let old = file("old", "1123456789abcdef0123456789abcdef");
        let mut all = String::new();
        let mut with = |legacy: &str, anonymous| {
            all = said(|settings| {
                settings.app.mercure_url = "https://a.example/.well-known/mercure".into();
                settings.app.mercure_issuers = vec![format!("https://a.example {one}")];
                settings.app.mercure_legacy_key_file = legacy.into();
                settings.app.mercure_anonymous = anonymous;
            });
            all.split_once("; its ").unwrap().1.to_owned()
        };
        assert_eq!(
            with("", false),
            "Mercure hub https://a.example/.well-known/mercure to tokens of \"https://a.example\", \
             public updates to whoever has one of them"
        );
        assert_eq!(
            with(&old, true),
            "Mercure hub https://a.example/.well-known/mercure to tokens of \"https://a.example\" and tokens of \
             version 0.x, which may be without an end and in URLs, public updates to anybody"
        );
    }

    #[test]
    fn no_key_serves_both_versions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, "HS256 0123456789abcdef0123456789abcdef").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let mut settings = Settings::default();
        settings.app.mercure_url = "https://a.example/.well-known/mercure".into();
        settings.app.mercure_issuers = vec![format!("https://a.example {}", path.display())];
        settings.app.mercure_legacy_key_file = path.display().to_string();
        let (section, key, why) = preflight::prepare(&settings).err().unwrap();
        assert_eq!((section.as_str(), key), ("app", "mercure_legacy_key_file"));
        assert!(
            why.starts_with("has a key that mercure_issuers has too"),
            "{why}"
        );
        settings.app.mercure_legacy_key_file.push('x');
        let (_, key, why) = preflight::prepare(&settings).err().unwrap();
        assert_eq!(key, "mercure_legacy_key_file");
        assert!(why.contains("keysx"), "{why}");
    }

    fn said(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        let prepared = preflight::prepare(&settings).unwrap();
        lines(&settings, &prepared.apps).join("\n")
    }

    #[test]
    fn it_says_what_is_open_to_whom() {
        assert_eq!(
            said(|_| {}),
            "application askr: public channels are open to pages of the same origin, under any host; private \
             channels to nobody (no secret is set, and no auth_url); publishing over HTTP to nobody (no secret is set)"
        );
        let all = said(|settings| {
            settings.server.allowed_hosts = vec!["a.example".into()];
            settings.app.allowed_origins = vec!["https://b.example".parse().unwrap()];
            settings.app.secret = "0123456789abcdefghij".into();
            settings.app.auth_url = "http://127.0.0.1:8000/auth".into();
        });
        assert_eq!(
            all,
            "application askr: public channels are open to pages of the same origin and \"https://b.example\", under \
             the hosts \"a.example\"; private channels to who has a token or whom the application signs for or whom \
             http://127.0.0.1:8000/auth lets in; publishing over HTTP to who signs with its secret"
        );
    }
}

//! The part of an application's settings that is about its Mercure hub.

use std::path::Path;

use protocol::mercure::hub_url::HubUrl;
use protocol::mercure::{MAX_GRANTS, MAX_MATCHERS};

use super::app::App;
use super::ranges::range;

/// Who issues tokens, and the file of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    pub name: String,
    pub key_file: String,
}

impl App {
    /// Its hub's URL. None: it has no hub.
    pub fn mercure(&self) -> Option<HubUrl> {
        HubUrl::parse(&self.mercure_url).ok()
    }

    /// The path of the hub.
    pub fn mercure_path(&self) -> Option<String> {
        self.mercure().map(|hub| hub.path().to_owned())
    }

    /// Who issues tokens of version 1.0. Checked with the settings.
    pub fn mercure_issuers(&self) -> Vec<Issuer> {
        self.mercure_issuers
            .iter()
            .filter_map(|text| issuer(text))
            .collect()
    }

    pub fn mercure_legacy_key_file(&self) -> Option<&Path> {
        let file = &self.mercure_legacy_key_file;
        (!file.is_empty()).then(|| Path::new(file))
    }

    pub(super) fn check_mercure(&self) -> Result<(), (&'static str, String)> {
        let has_keys = !self.mercure_issuers.is_empty() || !self.mercure_legacy_key_file.is_empty();
        match (self.mercure_url.as_str(), has_keys) {
            ("", false) => {}
            ("", true) => {
                let why = "must be the hub's public URL where mercure_issuers or mercure_legacy_key_file is set";
                return Err(("mercure_url", why.to_owned()));
            }
            (_, false) => {
                let why = "must name who issues tokens, and the file of their keys (\"ISSUER FILE\"), or \
                           mercure_legacy_key_file must be set: a hub without keys has no publishers";
                return Err(("mercure_issuers", why.to_owned()));
            }
            (url, true) => {
                let hub = HubUrl::parse(url).map_err(|why| ("mercure_url", why.to_string()))?;
                let taken = [
                    "/askr/",
                    "/app/",
                    "/apps/",
                    "/up",
                    "/.well-known/oauth-protected-resource",
                ];
                if hub.as_str() != url {
                    let why = format!("must be written as {}", hub.as_str());
                    return Err(("mercure_url", why));
                }
                if taken.iter().any(|taken| hub.path().starts_with(taken)) {
                    let why = "its path is one that askrd has for something else";
                    return Err(("mercure_url", why.to_owned()));
                }
            }
        }
        let mut names = Vec::new();
        for text in &self.mercure_issuers {
            let Some(issuer) = issuer(text) else {
                let why = "each must be an issuer's name, a space, and the file of its keys";
                return Err(("mercure_issuers", why.to_owned()));
            };
            if names.contains(&issuer.name) {
                let why = format!("\"{}\" is named twice", issuer.name.escape_default());
                return Err(("mercure_issuers", why));
            }
            names.push(issuer.name);
        }
        for (key, name) in [
            ("mercure_cookie", &self.mercure_cookie),
            ("mercure_legacy_cookie", &self.mercure_legacy_cookie),
        ] {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) {
                return Err((key, "must be a cookie's name".to_owned()));
            }
        }
        if self.mercure_cookie == self.mercure_legacy_cookie {
            let why = "must not be that of mercure_cookie";
            return Err(("mercure_legacy_cookie", why.to_owned()));
        }
        let range = |key, value: f64, least, most| {
            range("app", key, value, least, most).map_err(|(_, key, why)| (key, why))
        };
        range(
            "mercure_matchers",
            self.mercure_matchers as f64,
            1.0,
            MAX_MATCHERS as f64,
        )?;
        range("mercure_patterns", self.mercure_patterns as f64, 1.0, 1e6)?;
        let per_address = self.mercure_patterns_per_address.into();
        range("mercure_patterns_per_address", per_address, 1.0, 1e6)?;
        // As much as one token may have.
        let grants = self.mercure_grants.0 as f64;
        range(
            "mercure_grants",
            grants,
            2.0 * MAX_GRANTS as f64,
            (1u64 << 40) as f64,
        )
    }
}

fn issuer(text: &str) -> Option<Issuer> {
    let (name, file) = text.trim().split_once(char::is_whitespace)?;
    Some(Issuer {
        name: name.to_owned(),
        key_file: file.trim_start().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(url: &str, issuers: &[&str], legacy: &str) -> App {
        App {
            mercure_url: url.to_owned(),
            mercure_issuers: issuers.iter().map(|text| (*text).to_owned()).collect(),
            mercure_legacy_key_file: legacy.to_owned(),
            ..App::default()
        }
    }

    #[test]
    fn a_hub_has_a_url_and_keys_or_neither() {
        const HUB: &str = "https://example.com/.well-known/mercure";
        let key = |url: &str, issuers: &[&str], legacy| {
            app(url, issuers, legacy)
                .check_mercure()
                .err()
                .map(|(key, _)| key)
        };
        assert_eq!(key("", &[], ""), None);
        assert_eq!(key(HUB, &["https://a /k"], ""), None);
        assert_eq!(key(HUB, &[], "/k"), None);
        assert_eq!(key(HUB, &[], ""), Some("mercure_issuers"));
        assert_eq!(key("", &["https://a /k"], ""), Some("mercure_url"));
        assert_eq!(key("", &[], "/k"), Some("mercure_url"));
        for url in [
            "x",
            "https://example.com/",
            "https://EXAMPLE.com/hub",
            "https://example.com/askr/events",
            "https://example.com/up",
        ] {
            assert_eq!(key(url, &[], "/k"), Some("mercure_url"), "{url}");
        }
        assert_eq!(key(HUB, &["https://a"], ""), Some("mercure_issuers"));
        assert_eq!(key(HUB, &["a /k", "a /l"], ""), Some("mercure_issuers"));
    }
}

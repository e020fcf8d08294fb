//! Where a request shows its token: in `Authorization`, in the query (0.x alone), in a cookie. The first of them counts,
//! right or wrong; a query and a cookie are for the tokens of one version. Pure.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderValue, ORIGIN, REFERER};
use protocol::mercure::Version;
use protocol::mercure::subscribe;

use super::super::bearer;
use super::super::bearer::is_from_allowed_page;
use super::super::cors;
use super::super::cors::Origin;
use crate::app::application::Mercure;
use crate::config::AllowedOrigin;

/// A token, and whether a browser adds it by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub token: String,
    pub by_cookie: bool,
    /// The version whose tokens are shown so. None: any.
    pub only: Option<Version>,
}

/// Why what a cookie alone allows is refused.
pub const FOREIGN: &str = "a cookie needs an Origin or a Referer that is this site's, or allowed (server.allowed_origins)";

/// The token of a request. A cookie counts only if the page is this site's or of an exact origin.
///
/// # Errors
/// One line: the header is not what it must be.
pub fn find(
    headers: &HeaderMap,
    query: &str,
    mercure: &Mercure,
    origin: &Origin,
) -> Result<Option<Shown>, String> {
    let shown = by_choice(headers, query, mercure)?;
    let cookie = || cookie(headers, mercure).filter(|_| is_from_allowed_page(headers, origin));
    Ok(shown.or_else(cookie))
}

/// Whether a request has its token in a cookie alone, which does not count: any page can have a browser send that.
pub fn is_forged(headers: &HeaderMap, query: &str, mercure: &Mercure, origin: &Origin) -> bool {
    !is_from_allowed_page(headers, origin)
        && matches!(by_choice(headers, query, mercure), Ok(None))
        && cookie(headers, mercure).is_some()
}

/// What no browser adds by itself.
fn by_choice(headers: &HeaderMap, query: &str, mercure: &Mercure) -> Result<Option<Shown>, String> {
    let shown = |token, only| Shown {
        token,
        by_cookie: false,
        only,
    };
    let mut all = headers.get_all(AUTHORIZATION).iter();
    if let Some(header) = all.next() {
        let token = bearer::bearer(header).filter(|_| all.next().is_none());
        let malformed = || "Authorization must be given once, as Bearer and a token".to_owned();
        return Ok(Some(shown(token.ok_or_else(malformed)?, None)));
    }
    if !mercure.tokens.speaks_legacy() {
        return Ok(None);
    }
    let token = subscribe::token(query).map_err(|why| why.to_string())?;
    Ok(token.map(|token| shown(token, Some(Version::Legacy))))
}

fn cookie(headers: &HeaderMap, mercure: &Mercure) -> Option<Shown> {
    let legacy = mercure.tokens.speaks_legacy();
    let old = legacy.then_some((&mercure.legacy_cookie, Version::Legacy));
    let all = [Some((&mercure.cookie, Version::One)), old];
    all.into_iter().flatten().find_map(|(name, version)| {
        Some(Shown {
            token: bearer::cookie(headers, name)?,
            by_cookie: true,
            only: Some(version),
        })
    })
}

/// Whether a request says that its page is this site's or of an exact origin. For what a cookie alone allows: any page can
/// have a browser send a form with it.
pub fn names_its_page(headers: &HeaderMap, origins: &[AllowedOrigin]) -> bool {
    let mut headers = headers.clone();
    headers.remove(COOKIE);
    if !headers.contains_key(ORIGIN) {
        let referer = headers.get(REFERER).and_then(|value| value.to_str().ok());
        let Some(origin) = referer.and_then(origin_of) else {
            return false;
        };
        headers.insert(ORIGIN, origin);
    }
    matches!(
        cors::origin(&headers, origins),
        Origin::Own | Origin::Listed(_)
    )
}

fn origin_of(url: &str) -> Option<HeaderValue> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    HeaderValue::from_str(&format!("{scheme}://{host}")).ok()
}

#[cfg(test)]
mod tests {
    use protocol::mercure::hub_url::HubUrl;

    use super::*;
    use crate::auth::mercure::keys;
    use crate::auth::mercure::tokens::HubTokens;

    fn mercure(legacy: bool) -> Mercure {
        let key = "HS256 0123456789abcdef0123456789abcdef";
        Mercure {
            tokens: HubTokens {
                hub: HubUrl::parse("https://a.example/.well-known/mercure").unwrap(),
                issuers: Vec::new(),
                legacy: if legacy {
                    keys::parse(key).unwrap()
                } else {
                    Vec::new()
                },
            },
            anonymous: false,
            cookie: "new".to_owned(),
            legacy_cookie: "old".to_owned(),
            matchers: 100,
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn found(pairs: &[(&'static str, &str)], query: &str, legacy: bool) -> Option<(String, bool)> {
        let found = find(&headers(pairs), query, &mercure(legacy), &Origin::Own).unwrap();
        found.map(|shown| (shown.token, shown.by_cookie))
    }

    #[test]
    fn the_header_comes_before_the_query_and_that_before_cookies() {
        let cookies = ("cookie", "x=1; old=O; new=N");
        let header = ("authorization", "bEARER H");
        let some = |token: &str, by_cookie| Some((token.to_owned(), by_cookie));
        let query = "topic=a&authorization=Q";
        assert_eq!(found(&[header, cookies], query, true), some("H", false));
        assert_eq!(found(&[cookies], query, true), some("Q", false));
        assert_eq!(
            found(&[cookies], query, false),
            some("N", true),
            "1.0 has none in URLs"
        );
        assert_eq!(found(&[("cookie", "old=O")], "", true), some("O", true));
        assert_eq!(found(&[("cookie", "old=O")], "", false), None);
        assert_eq!(found(&[], "", true), None);
    }

    #[test]
    fn a_header_that_is_no_bearer_s_is_malformed() {
        for all in [
            &[("authorization", "Basic eA==")][..],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "x")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
        ] {
            let cookie = [all, &[("cookie", "new=N")]].concat();
            assert!(
                find(&headers(&cookie), "", &mercure(true), &Origin::Own).is_err(),
                "{all:?}"
            );
        }
    }

    #[test]
    fn a_cookie_of_another_site_s_page_does_not_count() {
        let cookie = headers(&[("cookie", "new=N")]);
        for origin in [Origin::Foreign, Origin::Pattern] {
            assert_eq!(find(&cookie, "", &mercure(true), &origin), Ok(None));
            let forged = |headers: &HeaderMap, query: &str| {
                is_forged(headers, query, &mercure(true), &origin)
            };
            assert!(forged(&cookie, "") && forged(&headers(&[("cookie", "old=O")]), ""));
            assert!(!forged(&headers(&[]), "") && !forged(&cookie, "authorization=Q"));
            let header = ("authorization", "Bearer H");
            assert!(!forged(&headers(&[header, ("cookie", "new=N")]), ""));
        }
        assert!(!is_forged(&cookie, "", &mercure(true), &Origin::Own));
        let listed = Origin::Listed(HeaderValue::from_static("https://b.example"));
        assert!(
            find(&cookie, "", &mercure(true), &listed)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn what_a_cookie_alone_allows_needs_an_origin_or_a_referer() {
        let host = ("host", "a.example");
        let listed = ["https://b.example".parse().unwrap()];
        let names = |pairs: &[(&'static str, &str)]| {
            names_its_page(&headers(&[&[host], pairs].concat()), &listed)
        };
        assert!(names(&[("origin", "https://a.example")]));
        assert!(names(&[("origin", "https://b.example")]));
        assert!(names(&[("referer", "https://a.example/page?x#y")]));
        assert!(names(&[("referer", "https://b.example")]));
        for foreign in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "https://c.example")],
            &[
                ("origin", "https://c.example"),
                ("referer", "https://a.example/"),
            ],
            &[
                ("origin", "https://a.example"),
                ("origin", "https://a.example"),
            ],
            &[("referer", "https://c.example/https://a.example/")],
            &[("referer", "https://a.example@c.example/")],
            &[("referer", "a.example")],
            &[("referer", "")],
        ] {
            assert!(!names(foreign), "{foreign:?}");
        }
    }
}

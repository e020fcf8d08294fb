//! Where a request may carry its token: in `Authorization`, in the query, in a cookie; and which credentials count at
//! all. Pure.

use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};

use super::cors::Origin;

/// The cookie's name.
const COOKIE_NAME: &str = "askr_token";

/// The token of a request: from the header (RFC 6750, section 2.1), else the query, else the cookie. A cookie
/// counts only if the page is this site's or of an exact origin.
pub fn token(headers: &HeaderMap, query: Option<String>, origin: &Origin) -> Option<String> {
    from_header(headers)
        .or(query.filter(|token| !token.is_empty()))
        .or_else(|| from_cookie(headers).filter(|_| is_from_allowed_page(headers, origin)))
}

fn from_header(headers: &HeaderMap) -> Option<String> {
    headers.get(AUTHORIZATION).and_then(bearer)
}

/// The token of a header that has the form of RFC 6750.
pub fn bearer(authorization: &HeaderValue) -> Option<String> {
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn from_cookie(headers: &HeaderMap) -> Option<String> {
    cookie(headers, COOKIE_NAME)
}

/// The value of a cookie.
pub fn cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let all = headers.get_all(COOKIE).iter();
    let mut pairs = all
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, value)| *name == wanted && !value.is_empty())?;
    Some(value.trim_matches('"').to_owned())
}

/// The headers that count: all of a page of this site or of an exact origin. Of another page's those are left out that
/// the browser adds by itself, cookies and a password that it remembers; a bearer's token the page itself has shown.
pub fn that_count(headers: &HeaderMap, origin: &Origin) -> HeaderMap {
    let mut headers = headers.clone();
    if !is_from_allowed_page(&headers, origin) {
        headers.remove(COOKIE);
        let mut all = headers.get_all(AUTHORIZATION).iter();
        if !all.all(|value| bearer(value).is_some()) {
            headers.remove(AUTHORIZATION);
        }
    }
    headers
}

/// Whether the page that sent a request is this site's or of an exact origin. A browser sends cookies with requests of
/// other sites too, but no page can set the headers that show it.
pub fn is_from_allowed_page(headers: &HeaderMap, origin: &Origin) -> bool {
    let other_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none");
    match origin {
        Origin::Listed(_) => true,
        Origin::Own => !other_site,
        Origin::Pattern | Origin::Foreign => false,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn find(pairs: &[(&'static str, &str)], query: Option<&str>, origin: Origin) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        token(&headers, query.map(str::to_owned), &origin)
    }

    #[test]
    fn the_header_comes_before_the_query_and_that_before_the_cookie() {
        let all = [
            ("authorization", "bearer  h"),
            ("cookie", "a=1; askr_token=\"c\"; b=2"),
        ];
        assert_eq!(find(&all, Some("q"), Origin::Own).as_deref(), Some("h"));
        assert_eq!(
            find(&all[1..], Some("q"), Origin::Own).as_deref(),
            Some("q")
        );
        assert_eq!(find(&all[1..], None, Origin::Own).as_deref(), Some("c"));
        assert_eq!(find(&[], Some(""), Origin::Own), None);
        for header in ["Basic aGk=", "Bearer", "Bearer ", ""] {
            assert_eq!(find(&[("authorization", header)], None, Origin::Own), None);
        }
        assert_eq!(
            find(&[("cookie", "xaskr_token=c")], None, Origin::Own),
            None
        );
    }

    #[test]
    fn a_cookie_counts_only_for_allowed_pages() {
        let from = |site: &str| {
            let headers = [("cookie", "askr_token=c"), ("sec-fetch-site", site)];
            let listed = Origin::Listed(HeaderValue::from_static("https://b.example"));
            let own = find(&headers, None, Origin::Own).is_some();
            (own, find(&headers, None, listed).is_some())
        };
        assert_eq!(from("same-origin"), (true, true));
        assert_eq!(from("none"), (true, true));
        // An image or a script of another site sends no Origin.
        assert_eq!(from("cross-site"), (false, true));
        assert_eq!(from("same-site"), (false, true));
        // Another site cannot send the token that is in the query.
        let foreign = [("sec-fetch-site", "cross-site")];
        assert_eq!(find(&foreign, Some("q"), Origin::Own).as_deref(), Some("q"));
    }

    #[test]
    fn cookies_that_a_browser_adds_for_another_site_do_not_count() {
        let counts = |site: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", HeaderValue::from_static("session=1"));
            let site = site.map(HeaderValue::from_static);
            headers.extend(site.map(|site| (HeaderName::from_static("sec-fetch-site"), site)));
            that_count(&headers, &Origin::Own).contains_key("cookie")
        };
        assert!(counts(None) && counts(Some("same-origin")));
        assert!(!counts(Some("cross-site")));
    }

    #[test]
    fn of_a_page_that_a_pattern_matches_only_what_it_shows_itself_counts() {
        let headers = |authorization: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", HeaderValue::from_static("askr_token=c"));
            for value in authorization {
                headers.append("authorization", HeaderValue::from_str(value).unwrap());
            }
            headers
        };
        let counted = |authorization: &[&str], origin: &Origin| {
            let all = that_count(&headers(authorization), origin);
            let cookie = all.contains_key("cookie");
            (cookie, all.contains_key("authorization"))
        };
        let listed = Origin::Listed(HeaderValue::from_static("https://b.example"));
        for origin in [&Origin::Own, &listed] {
            assert_eq!(counted(&["Basic x"], origin), (true, true));
        }
        for origin in [&Origin::Pattern, &Origin::Foreign] {
            assert_eq!(counted(&["Bearer x"], origin), (false, true));
            for added in [
                &["Basic x"][..],
                &["Negotiate x"],
                &["x"],
                &["Bearer x", "Basic x"],
            ] {
                assert_eq!(counted(added, origin), (false, false), "{added:?}");
            }
            assert_eq!(token(&headers(&[]), None, origin), None);
            let shown = token(&headers(&["Bearer x"]), None, origin);
            assert_eq!(shown.as_deref(), Some("x"));
        }
    }
}

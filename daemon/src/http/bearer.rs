//! Where a request may carry its token: in `Authorization`, in the query, in a cookie. Pure.

use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap};

use super::cors::Origin;

/// The cookie's name.
const COOKIE_NAME: &str = "askr_token";

/// The token of a request: from the header (RFC 6750, section 2.1), else the query, else the cookie. A cookie
/// counts only if the page is this site's or of an allowed origin.
pub fn token(headers: &HeaderMap, query: Option<String>, origin: &Origin) -> Option<String> {
    from_header(headers)
        .or(query.filter(|token| !token.is_empty()))
        .or_else(|| from_cookie(headers).filter(|_| is_from_allowed_page(headers, origin)))
}

fn from_header(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn from_cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(COOKIE).iter();
    let mut pairs = all
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, value)| *name == COOKIE_NAME && !value.is_empty())?;
    Some(value.trim_matches('"').to_owned())
}

/// Whether the page that sent a request is this site's or of an allowed origin. A browser sends cookies with
/// requests of other sites too, but no page can set the headers that show it. A foreign Origin was refused before.
pub fn is_from_allowed_page(headers: &HeaderMap, origin: &Origin) -> bool {
    let other_site = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none");
    matches!(origin, Origin::Listed(_)) || !other_site
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

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
}

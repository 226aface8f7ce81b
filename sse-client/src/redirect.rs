//! Where a response redirects to, and what may go along (WHATWG Fetch, "HTTP-redirect fetch").

use std::fmt;

use http::header::{self, HeaderName};
use url::Url;

use crate::error::place;
use crate::said::Said;

/// As many as browsers and curl are content with, roughly.
pub(crate) const MAX_REDIRECTS: usize = 10;

/// Headers that go along to another origin. Fetch drops `Authorization` only; but any name may
/// carry a secret, except for those that say what is wanted, and by whom.
pub(crate) const HARMLESS: [HeaderName; 5] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::USER_AGENT,
];

/// Why a redirect was not followed.
#[derive(thiserror::Error)]
pub(crate) enum RedirectRefused {
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
    #[error("the location {:?} of the redirect is not a URL", Said(.0))]
    Location(String),
    #[error("the redirect leads to {0}, and only http and https can be asked for an event stream")]
    Scheme(String),
    #[error("the redirect has no Location")]
    Nowhere,
    #[error("the redirect names several locations")]
    Several,
    #[error("the redirect leads from https to {0}")]
    Downgrade(String),
    #[error("the redirect asks to send the body to another origin, at {0}")]
    Body(String),
}

/// The message, which quotes the location in part.
impl fmt::Debug for RedirectRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedirectRefused({self})")
    }
}

/// Where a response redirects to, if it does. `redirects` is how many there were before.
pub(crate) fn target<B>(
    from: &Url,
    response: &http::Response<B>,
    redirects: usize,
) -> Option<Result<Url, RedirectRefused>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let mut locations = response.headers().get_all(header::LOCATION).iter();
    let Some(location) = locations.next() else {
        return Some(Err(RedirectRefused::Nowhere));
    };
    if locations.any(|other| other != location) {
        return Some(Err(RedirectRefused::Several));
    }
    Some(resolve(from, location.as_bytes(), redirects))
}

fn resolve(from: &Url, location: &[u8], redirects: usize) -> Result<Url, RedirectRefused> {
    if redirects == MAX_REDIRECTS {
        return Err(RedirectRefused::TooMany);
    }
    let location = String::from_utf8_lossy(location);
    let next = from.join(&location).map(|mut next| {
        // "If locationURL's fragment is null, then set it to the request's."
        if next.fragment().is_none() {
            next.set_fragment(from.fragment());
        }
        next
    });
    match next {
        Ok(next) if next.scheme() == "https" => Ok(next),
        Ok(next) if next.scheme() == "http" && from.scheme() == "http" => Ok(next),
        Ok(next) if next.scheme() == "http" => Err(RedirectRefused::Downgrade(place(&next))),
        // The rest may be long, or a secret.
        Ok(next) => Err(RedirectRefused::Scheme(format!("{}:…", Said(next.scheme())))),
        Err(_) => Err(RedirectRefused::Location(public(&location))),
    }
}

/// What is no URL, without what would be its user, its password and its query.
fn public(location: &str) -> String {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let (before, query) = location.split_at(end);
    let is_scheme = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let colon = before.find(':').filter(|&colon| is_scheme(&before[..colon]));
    let scheme = colon.map_or("", |colon| &before[..=colon]);
    match before.rsplit_once('@') {
        // The mark may be one of the password.
        _ if query.contains('@') => format!("{scheme}…"),
        Some((_, rest)) => format!("{scheme}…@{rest}"),
        None if query.is_empty() => before.to_owned(),
        None => format!("{before}{}…", &query[..1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved_and_https_is_never_left() {
        let from = Url::parse("https://a.example/x/y?z").expect("a URL");
        let resolve = |location: &str| {
            resolve(&from, location.as_bytes(), 0)
                .map(String::from)
                .map_err(|refused| refused.to_string())
        };
        assert_eq!(resolve("w"), Ok("https://a.example/x/w".to_owned()));
        assert_eq!(resolve("//b.example"), Ok("https://b.example/".to_owned()));
        for (refused, why) in [
            ("http://a.example/", "from https to http://a.example"),
            ("ftp://a.example/", "to ftp:…,"),
            ("data:,x", "to data:…,"),
            ("mailto:a@example.org", "to mailto:…,"),
            ("https://", "\"https://\" of the redirect is not a URL"),
            ("https://u:secret@[x/?secret", "location \"https:…@[x/\" of"),
            ("//u:sec?ret@[x/", "location \"…\" of"),
            ("http://[x/y?secret=1", "location \"http://[x/y?…\" of"),
            ("http://[x/y#secret", "location \"http://[x/y#…\" of"),
        ] {
            let error = resolve(refused).expect_err(refused);
            assert!(error.contains(why), "{refused}: {error}");
        }
        for (before, after) in [("https://[", ""), ("a", ":"), ("http://a.example/", "")] {
            let error = resolve(&format!("{before}{}{after}", "x".repeat(10_000)));
            let error = error.expect_err("refused");
            assert!(error.chars().count() < 400, "{error}");
        }
    }

    #[test]
    fn a_location_that_comes_twice_must_be_the_same() {
        let from = Url::parse("http://a.example/").expect("a URL");
        let moved = |locations: &[&str]| {
            let mut response = http::Response::builder().status(302);
            for location in locations {
                response = response.header(header::LOCATION, *location);
            }
            target(&from, &response.body(()).expect("a response"), 0)
        };
        assert!(matches!(moved(&[]), Some(Err(RedirectRefused::Nowhere))));
        let same = moved(&["/x", "/x"]).expect("a redirect");
        assert_eq!(same.expect("one location").path(), "/x");
        let several = moved(&["/x", "/y"]).expect("a redirect");
        assert!(matches!(several, Err(RedirectRefused::Several)));
    }
}

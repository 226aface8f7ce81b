//! A request as the client has made it, as far as the proxies between are believed.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};

use super::events::Asked;
use crate::access::Original;
use crate::http::server::caller::Caller;

/// What the client has asked for. Headers that say so count only from proxies that are trusted.
pub(super) fn original<'a>(caller: &Caller, asked: &Asked<'a>) -> Original<'a> {
    let told = |name| if caller.is_by_proxy { last(asked.headers, name) } else { None };
    let scheme = told("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https"));
    let host = asked.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = asked.uri.authority().map(Authority::as_str);
    let uri = told("x-forwarded-uri").filter(|uri| uri.starts_with('/'));
    let own = asked.uri.path_and_query().map_or("/", |uri| uri.as_str());
    Original {
        method: asked.method.as_str(),
        scheme: scheme.unwrap_or(caller.scheme),
        host: told("x-forwarded-host").or(authority).or(host).unwrap_or_default(),
        uri: uri.unwrap_or(own),
    }
}

/// What the nearest proxy has written: others may have written before it, in a list or in a line of
/// their own.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let line = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    // A URI may have commas of its own.
    let entry = if name == "x-forwarded-uri" { Some(line) } else { line.rsplit(',').next() };
    entry.map(str::trim).filter(|entry| !entry.is_empty())
}

//! By which name a request asks, where only the network keeps strangers out.
//!
//! A page can have its own name resolved to the address of this machine ("DNS rebinding"). To the
//! browser it is then of the same origin as the server, and may read what everybody on this machine
//! may read. The name stays the page's, and that can be seen in `Host`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::error::Refusal;
use super::server::caller::Peer;
use super::server::operations::Operations;

/// Passes on requests for streams and pages, unless everyone may read and the name is a stranger's.
pub(super) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let access = app.config.access.as_ref();
    let is_open = access.is_none_or(|access| access.manager().is_open());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    if is_open
        && let Err(refusal) = allow(&app.config.operations, peer, request.uri(), request.headers())
    {
        return refusal.into_response();
    }
    next.run(request).await
}

/// Refuses a request that names a host which is not this machine, nor in the settings. Without
/// settings that concerns requests from this machine only: at a public address, every name may be
/// right.
pub(super) fn allow(
    operations: &Operations,
    peer: Option<SocketAddr>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let is_local = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if !is_local && operations.hosts.is_empty() {
        return Ok(());
    }
    // Browsers always name the host. A request that names two is refused.
    let mut named = headers.get_all(header::HOST).iter();
    let text = match (uri.authority(), named.next(), named.next()) {
        (Some(authority), _, _) => authority.as_str(),
        (None, Some(host), None) => host.to_str().unwrap_or_default(),
        (None, None, _) => return Ok(()),
        (None, Some(_), Some(_)) => "",
    };
    let host = name(text);
    let is_known = host.as_deref().is_some_and(|host| {
        is_loopback(host) || operations.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    });
    if is_known {
        return Ok(());
    }
    let text = format!(
        "{text:?} is no name of this server, on which everyone may read; add it to --hosts, or say in the rules \
         who may read"
    );
    Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", text))
}

/// The host of `name:port`, without the brackets of an IPv6 address and the dot after a whole name.
fn name(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some(host.strip_suffix('.').unwrap_or(host).to_owned())
}

/// Names that are this machine's in every browser (RFC 6761, section 6.3).
fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_known_in_every_form() {
        for known in [
            "localhost",
            "LOCALHOST:8080",
            "app.localhost.",
            "127.0.0.1:1",
            "127.1.2.3",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(name(known).is_some_and(|host| is_loopback(&host)), "{known}");
        }
        for strange in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"]
        {
            assert!(!name(strange).is_some_and(|host| is_loopback(&host)), "{strange}");
        }
    }
}

//! The sender of a request: extensions of the request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::consumer::Consumer;

/// The other end of a connection, as an extension of each of its requests.
/// [`serve`](super::serve::serve) sets it; another server around the router can. Of a unix
/// socket it is 127.0.0.1, with port 0.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What the server itself knows of the client.
#[derive(Clone, Debug)]
pub(in crate::http) struct Caller {
    /// Its address, beyond the proxies that are trusted.
    pub(in crate::http) client: IpAddr,
    /// The request came by a proxy that is trusted.
    pub(in crate::http) is_by_proxy: bool,
    /// The connection's: `http` or `https`.
    pub(in crate::http) scheme: &'static str,
    pub(in crate::http) consumer: Arc<Consumer>,
}

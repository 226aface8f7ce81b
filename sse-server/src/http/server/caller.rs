//! The sender of a request: extensions of the request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::consumer::Consumer;

/// The other end of a connection, as an extension of each of its requests.
/// [`serve`](super::serve::serve) sets it; another server around the router can.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What the server itself knows of the client.
#[derive(Clone, Debug)]
pub(in crate::http) struct Caller {
    /// Its address, beyond the proxies that are trusted.
    pub(in crate::http) client: IpAddr,
    pub(in crate::http) consumer: Arc<Consumer>,
}

//! A port that stays a test's own while nothing listens at it: before a server is started, and
//! between its end and its next start. A port that was merely free a moment ago may be taken by
//! then.

use std::fmt::{self, Display, Formatter};
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of the loopback address. Who connects is refused, unless a server that was told its
/// number listens there.
pub struct Port {
    address: SocketAddr,
    /// Bound, and never listening. Linux gives such a port to no program that asks for any, but
    /// lets a server have it that asks for just this one.
    _held: Option<TcpSocket>,
}

impl Port {
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("it is new");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let address = socket.local_addr().expect("bound");
        // Other systems would refuse it to the server too.
        Self { address, _held: Some(socket).filter(|_| cfg!(target_os = "linux")) }
    }

    pub fn number(&self) -> u16 {
        self.address.port()
    }
}

/// With the address.
impl Display for Port {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

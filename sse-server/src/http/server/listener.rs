//! The sockets by which connections come in.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// How many connections may wait to be accepted. The system allows fewer: on Linux
/// `net.core.somaxconn`, which is 4096 unless somebody has changed it.
///
/// After a restart all readers come at once. A connection that finds no place tries again after a
/// second, then two, then four: with the 128 places of the standard library, 10,000 readers need
/// half a minute.
const BACKLOG: i32 = 65_535;

/// Listens on the first of these addresses that works, with room for a storm of connections. For
/// [`serve`](crate::http::serve). Must be called in a Tokio runtime.
///
/// # Errors
///
/// That of the last address, if none works; or that there is no address.
pub fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "there is no address to listen on");
    for &address in addresses {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of the process before that have not timed out do not hold up a restart.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

//! Connections to a server of this machine, from several addresses.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::fd::OwnedFd;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// How many connections have the same source. A system has about 28,000 ports to give for each.
const OF_ONE_SOURCE: usize = 4_000;

/// Connects to a port of 127.0.0.1, as the connection of this number. The socket blocks.
///
/// # Errors
///
/// If the server does not accept it, or there are not as many descriptors.
pub fn connect(port: u16, number: usize) -> io::Result<OwnedFd> {
    let socket =
        net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let source = Ipv4Addr::from_bits(
        Ipv4Addr::LOCALHOST.to_bits() + u32::try_from(number / OF_ONE_SOURCE).unwrap_or(0),
    );
    if source != Ipv4Addr::LOCALHOST {
        // A port may be in use to another server, which has just ended.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    }
    net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

/// Writes all of it to a socket, whether it blocks or not.
pub(super) fn write_all(socket: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match net::send(socket, bytes, net::SendFlags::NOSIGNAL) {
            Ok(len) => bytes = &bytes[len..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

//! Connections to a server of this machine, from several addresses.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// Our own ports of each source. Where the system chooses, it looks longer for each, the more there
/// are that have just been closed, and the servers that are measured later look slow.
const PORTS: std::ops::Range<u16> = 40_000..44_000;

/// Addresses that nobody has connected from for a while: 127.X.N.Y, where N counts the addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources(u8, u8);

impl Sources {
    /// The next.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id());
        let part = |number: u32| u8::try_from(1 + number % 250).unwrap_or(1);
        Self(part(next), part(next / 250))
    }

    /// That of the connection of this number.
    fn of(self, number: usize) -> SocketAddrV4 {
        let source = u8::try_from(1 + number / PORTS.len()).unwrap_or(u8::MAX);
        let port = u16::try_from(number % PORTS.len()).map_or(0, |port| PORTS.start + port);
        SocketAddrV4::new(Ipv4Addr::new(127, self.0, source, self.1), port)
    }
}

/// Connects to a port of 127.0.0.1. The socket blocks.
///
/// # Errors
///
/// If the server does not accept it, or there are not as many descriptors.
pub(super) fn connect(port: u16, sources: Sources, number: usize) -> io::Result<OwnedFd> {
    let socket = bound(sources.of(number), SocketFlags::CLOEXEC)?;
    net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

/// The same without waiting until it is connected. The socket does not block.
pub(super) fn begin_to_connect(port: u16, sources: Sources, number: usize) -> io::Result<OwnedFd> {
    let socket = bound(sources.of(number), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    match net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

fn bound(source: SocketAddrV4, flags: SocketFlags) -> io::Result<OwnedFd> {
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    // It may still be known from a connection to another server.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &source)?;
    Ok(socket)
}

/// Writes all of it to a socket that blocks.
pub(super) fn write_all(socket: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match net::send(socket, bytes, net::SendFlags::NOSIGNAL) {
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

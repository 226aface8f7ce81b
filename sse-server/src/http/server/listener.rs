//! The sockets by which connections come in.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, thread};

use rustix::fs::FlockOperation;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

/// How many connections may wait to be accepted. The system allows fewer: on Linux
/// `net.core.somaxconn`, which is 4096 unless somebody has changed it.
///
/// After a restart all readers come at once. A connection that finds no place tries again after a
/// second, then two, then four: with the 128 places of the standard library, 10,000 readers need
/// half a minute.
const BACKLOG: i32 = 65_535;

/// How long another server that starts is waited for, at most: so many times this.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const LOCK_TRIES: usize = 50;

/// A connection's socket.
pub(in crate::http) type Stream = Either<TcpStream, UnixStream>;

/// What a connection is read from and written to: a [`Stream`], or what a simulation has for one.
pub(super) trait Accepted: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Whether it is a socket of the system, which can leave tokio.
    const IS_SOCKET: bool;

    /// Sets what is to be set before anything is written. `bound`: after what time a peer that is
    /// gone without a word is noticed.
    fn prepare(&self, bound: Duration);

    /// It as a socket of the system, if it is one.
    fn into_socket(self) -> Option<Stream>;
}

/// Where connections come from: a [`Listener`], or what a simulation has for one.
pub(super) trait Accept {
    type Stream: Accepted;

    /// The next connection.
    async fn accept(&self) -> io::Result<(Self::Stream, Remote)>;
}

/// A socket that connections come in by: one of TCP, or a unix socket. Made of tokio's, or by
/// [`listen`] and [`listen_at`].
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        #[expect(dead_code, reason = "dropped, it removes the file")]
        file: Option<SocketFile>,
    },
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerAddress {
    /// At this address.
    Tcp(SocketAddr),
    /// At this path. None: it has none.
    Unix(Option<PathBuf>),
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) enum Remote {
    At(SocketAddr),
    /// The other end of a unix socket, which the permissions of a file have let in. It is a proxy,
    /// or a program that could be one, so what it says of its clients is believed.
    Local,
}

/// The file of a unix socket, removed when dropped unless it is another one by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Listens on the first of these addresses that works, with room for a storm of connections. For
/// [`serve`](crate::http::serve). Must be called in a Tokio runtime.
///
/// # Errors
///
/// That of the last address, if none works; or that there is no address.
pub fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = io::Error::new(ErrorKind::InvalidInput, "there is no address to listen on");
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

/// Listens on a unix socket at this path, whose file gets these permissions. A socket that a dead
/// server has left is replaced. Dropping the listener removes the file. Must be called in a Tokio
/// runtime.
///
/// # Errors
///
/// If another server listens there, if there is a file that is no socket, or if the file cannot be
/// made.
pub fn listen_at(path: &Path, mode: u32) -> io::Result<Listener> {
    let address = SockAddr::unix(path)?;
    let socket = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        io::Result::Ok(socket)
    };
    // Of two servers that start at the same time, one would take the other's socket for a dead
    // one's.
    let _lock = lock_folder(path);
    let mut listening = socket()?;
    match listening.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if !fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(io::Error::new(
                    ErrorKind::AlreadyExists,
                    "there is a file of this name that is no socket; it is left alone",
                ));
            }
            match socket()?.connect(&address) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Ok(()) | Err(_) => {
                    return Err(io::Error::new(ErrorKind::AddrInUse, "a server listens there"));
                }
            }
            fs::remove_file(path)?;
            listening = socket()?;
            listening.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile::at(path)?;
    // Nobody can connect before it listens.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    listening.listen(BACKLOG)?;
    let listener = UnixListener::from_std(listening.into())?;
    Ok(Listener(Kind::Unix { listener, file: Some(file) }))
}

/// Holds the folder of a file, until dropped. A folder that cannot be locked is gone on without.
fn lock_folder(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).ok()?;
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(folder),
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(LOCK_PAUSE),
            Err(_) => break,
        }
    }
    None
}

impl Listener {
    /// Where it is.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn address(&self) -> io::Result<ListenerAddress> {
        Ok(match &self.0 {
            Kind::Tcp(listener) => ListenerAddress::Tcp(listener.local_addr()?),
            Kind::Unix { listener, .. } => {
                let address = listener.local_addr()?;
                ListenerAddress::Unix(address.as_pathname().map(Path::to_owned))
            }
        })
    }
}

impl Accept for Listener {
    type Stream = Stream;

    async fn accept(&self) -> io::Result<(Stream, Remote)> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (socket, address) = listener.accept().await?;
                Ok((Either::Left(socket), Remote::At(address)))
            }
            Kind::Unix { listener, .. } => {
                let (socket, _) = listener.accept().await?;
                Ok((Either::Right(socket), Remote::Local))
            }
        }
    }
}

impl Accepted for Stream {
    const IS_SOCKET: bool = true;

    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "of Linux"))]
    fn prepare(&self, bound: Duration) {
        let Self::Left(socket) = self else { return };
        // An event is written in one piece; there is nothing that waiting could be joined with.
        socket.set_nodelay(true).ok();
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(socket).set_tcp_user_timeout(Some(bound)).ok();
    }

    fn into_socket(self) -> Option<Stream> {
        Some(self)
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self(Kind::Tcp(listener))
    }
}

/// The file stays when this is dropped: it is of those who have made it.
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self(Kind::Unix { listener, file: None })
    }
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("a unix socket"),
        }
    }
}

/// The other end of a connection that was accepted before.
pub(super) fn remote(socket: &Stream) -> io::Result<Remote> {
    match socket {
        Either::Left(socket) => Ok(Remote::At(socket.peer_addr()?)),
        Either::Right(_) => Ok(Remote::Local),
    }
}

impl Remote {
    /// Its address. That of a unix socket is this machine's.
    pub(super) const fn address(self) -> SocketAddr {
        match self {
            Self::At(address) => address,
            Self::Local => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Local => f.write_str("a unix socket"),
        }
    }
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        // Where it is, whatever the current folder is by the end.
        let path = std::path::absolute(path)?;
        Ok(Self { path, device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_same = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode));
        if is_same {
            // There is nobody to tell, and the next server replaces it.
            fs::remove_file(&self.path).ok();
        }
    }
}

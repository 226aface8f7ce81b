//! The service manager: the sockets that it hands over, and what it is told. That is systemd's
//! protocol, which others speak too (`sd_listen_fds`, `sd_notify`).

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use sse_server::config::InheritedSocket;
use sse_server::http::Listener;
use tracing::debug;

/// Sockets that were handed over, and nobody listens on yet.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<(String, Socket)>);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Sockets {
    /// Takes what was handed over to this process. Must be called once, before there are threads:
    /// it takes the variables out of the environment.
    pub(crate) fn take() -> Result<Self, String> {
        // Those of a parent that has been handed some are not ours.
        let id = std::process::id().to_string();
        if std::env::var("LISTEN_PID").ok().as_deref() != Some(&*id) {
            return Ok(Self::default());
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut descriptors = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..descriptors.len() {
            let name = names.next().unwrap_or("unknown").to_owned();
            let problem = |error| format!("the socket {name:?} cannot be listened on: {error}");
            // One that is of another kind is left to the next try.
            let socket = match descriptors.take_tcp_listener(index) {
                Ok(Some(socket)) => Socket::Tcp(socket),
                _ => match descriptors.take_unix_listener(index).map_err(problem)? {
                    Some(socket) => Socket::Unix(socket),
                    None => continue,
                },
            };
            sockets.push((name, socket));
        }
        Ok(Self(sockets))
    }

    /// What they are.
    pub(crate) fn described(&self) -> Vec<InheritedSocket> {
        let describe = |(name, socket): &(String, Socket)| InheritedSocket {
            name: name.clone(),
            address: match socket {
                Socket::Tcp(socket) => socket.local_addr().ok(),
                Socket::Unix(_) => None,
            },
        };
        self.0.iter().map(describe).collect()
    }

    /// The socket of this name, to be listened on. Must be called in a Tokio runtime.
    pub(crate) fn listen(&mut self, name: &str) -> io::Result<Listener> {
        let index = self.0.iter().position(|(of, _)| of == name);
        let Some(index) = index else {
            return Err(io::Error::new(ErrorKind::AddrInUse, "it is listened on already"));
        };
        Ok(match self.0.remove(index).1 {
            Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(socket)?.into()
            }
            Socket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(socket)?.into()
            }
        })
    }

    /// The names of those that are left.
    pub(crate) fn left(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }
}

/// What the service manager is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// It listens, or has read its settings again.
    Ready,
    Reloading,
    Stopping,
}

/// Tells the service manager, if there is one that wants to know.
pub(crate) fn notify(state: State) {
    let told = match state {
        State::Ready => sd_notify::notify(&[NotifyState::Ready]),
        State::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        State::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
    if let Err(error) = told {
        debug!(%error, ?state, "the service manager cannot be told");
    }
}

//! Where to listen: addresses, a unix socket, or a socket that the service manager hands over.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::{Value, readable};

/// An address to listen on. A port alone is on 127.0.0.1, `:8080` is on all addresses, `unix:PATH`
/// is a unix socket,
/// `systemd` and `systemd:NAME` are sockets that the service manager hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    text: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    All(u16),
    Loopback(u16),
    Named(String, u16),
    Unix(PathBuf),
    Inherited(Option<String>),
}

/// Where to listen, with names looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// The first of these addresses that works.
    Addresses(Vec<SocketAddr>),
    /// A unix socket at this path.
    Unix {
        /// The path.
        path: PathBuf,
        /// The permissions of the file.
        mode: SocketMode,
    },
    /// A socket that the service manager hands over.
    Inherited(InheritedSocket),
}

/// A socket that the service manager has opened, and hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InheritedSocket {
    /// Its name: `FileDescriptorName` in systemd's unit.
    pub name: String,
    /// Its address. None: it is a unix socket, or is not known before the start.
    pub address: Option<SocketAddr>,
}

/// Permissions of a file, written in octal digits: `660`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketMode(pub(crate) u32);

readable!(ListenAddress, SocketMode);

impl ListenAddress {
    /// This port, on all addresses of the machine.
    pub const fn on_all(port: u16) -> Self {
        Self { text: String::new(), place: Place::All(port) }
    }

    /// The only socket that is handed over.
    pub(crate) fn inherited() -> Self {
        Self { text: "systemd".to_owned(), place: Place::Inherited(None) }
    }

    /// Looks names up. A unix socket gets these permissions. `inherited` are the sockets that were
    /// handed over; none: that is not known yet.
    ///
    /// # Errors
    ///
    /// If a name has no address, or no socket of the name was handed over.
    pub fn resolve(
        &self,
        mode: SocketMode,
        inherited: Option<&[InheritedSocket]>,
    ) -> Result<Listen, String> {
        let named = |name: &str, port: u16| {
            let found: Vec<_> = (name, port)
                .to_socket_addrs()
                .map_err(|error| format!("there is no address for {self}: {error}"))?
                .collect();
            if found.is_empty() {
                return Err(format!("there is no address for {self}: the name has none"));
            }
            Ok(Listen::Addresses(found))
        };
        match &self.place {
            // IPv6's takes IPv4 too, where there is IPv6.
            Place::All(port) => Ok(Listen::Addresses(vec![
                (Ipv6Addr::UNSPECIFIED, *port).into(),
                (Ipv4Addr::UNSPECIFIED, *port).into(),
            ])),
            Place::Loopback(port) => {
                Ok(Listen::Addresses(vec![(Ipv4Addr::LOCALHOST, *port).into()]))
            }
            Place::Named(name, port) => named(name, *port),
            Place::Unix(path) => Ok(Listen::Unix { path: path.clone(), mode }),
            Place::Inherited(name) => match inherited {
                Some(sockets) => choose(name.as_deref(), sockets).map(Listen::Inherited),
                None => Ok(Listen::Inherited(InheritedSocket {
                    name: name.clone().unwrap_or_default(),
                    address: None,
                })),
            },
        }
    }
}

/// The socket of this name, or else the only one.
fn choose(name: Option<&str>, sockets: &[InheritedSocket]) -> Result<InheritedSocket, String> {
    let names = sockets.iter().map(|socket| &*socket.name).collect::<Vec<_>>().join(", ");
    match (name, sockets) {
        (_, []) => {
            Err("no socket was handed over: LISTEN_FDS and LISTEN_PID are not set for this \
                        process; start it by a .socket unit"
                .to_owned())
        }
        (None, [only]) => Ok(only.clone()),
        (None, _) => {
            Err(format!("several sockets were handed over: {names}; say which, as in systemd:NAME"))
        }
        (Some(name), _) => match sockets.iter().find(|socket| socket.name == name) {
            Some(socket) => Ok(socket.clone()),
            None => Err(format!(
                "no socket {name:?} was handed over; there are {names}, by the names \
                             of FileDescriptorName"
            )),
        },
    }
}

impl Listen {
    /// Whether other machines can connect.
    pub fn is_public(&self) -> bool {
        match self {
            Self::Addresses(all) => all.iter().any(|address| !address.ip().is_loopback()),
            // Who can connect is said by the permissions of a file.
            Self::Unix { .. } => false,
            Self::Inherited(socket) => socket.address.is_some_and(|it| !it.ip().is_loopback()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(all) => {
                let all: Vec<_> = all.iter().map(ToString::to_string).collect();
                f.write_str(&all.join(", "))
            }
            Self::Unix { path, mode } => write!(f, "unix:{} with mode {mode}", path.display()),
            Self::Inherited(socket) if socket.name.is_empty() => {
                f.write_str("the socket that systemd hands over")
            }
            Self::Inherited(socket) => {
                write!(f, "the socket {} that systemd hands over", socket.name)
            }
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        let place = Place::Named(address.ip().to_string(), address.port());
        Self { text: address.to_string(), place }
    }
}

impl From<PathBuf> for ListenAddress {
    fn from(path: PathBuf) -> Self {
        Self { text: format!("unix:{}", path.display()), place: Place::Unix(path) }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.text, &self.place) {
            ("", Place::All(port)) => write!(f, ":{port}"),
            (text, _) => f.write_str(text),
        }
    }
}

impl Value for ListenAddress {
    const EXAMPLE: &'static str = "\"127.0.0.1:8080\"";

    fn read(text: &str) -> Result<Self, String> {
        let place = match text.split_once(':') {
            Some(("unix", path)) => unix(text, path)?,
            Some(("systemd", name)) if name.parse::<u16>().is_err() && !name.is_empty() => {
                Place::Inherited(Some(name.to_owned()))
            }
            None if text == "systemd" => Place::Inherited(None),
            _ => host_and_port(text)?,
        };
        Ok(Self { text: text.to_owned(), place })
    }

    fn of_number(number: u64) -> Result<Self, String> {
        Self::read(&number.to_string())
    }
}

fn unix(text: &str, path: &str) -> Result<Place, String> {
    let problem = match path {
        "" => "the path is missing",
        // Everybody on the machine can connect to those.
        path if path.starts_with('@') => "abstract sockets have no permissions",
        path if path.starts_with("//") => "there are too many slashes",
        path if path.ends_with('/') => "this is a folder",
        path => return Ok(Place::Unix(path.into())),
    };
    Err(format!(
        "{text:?} is no unix socket: {problem}; write for example unix:/run/sse-server.sock"
    ))
}

fn host_and_port(text: &str) -> Result<Place, String> {
    let error = |problem: &str| {
        format!(
            "{text:?} is no address and port: {problem}; write for example 127.0.0.1:8080, 8080 \
             for this machine alone, or :8080 for all addresses"
        )
    };
    let (host, port) = match text.rsplit_once(':') {
        None if text.parse::<u16>().is_ok() => (None, text),
        None => return Err(error("the port is missing")),
        Some((name, port)) => (Some(name), port),
    };
    let number = port.parse().map_err(|_| error("the port is no number up to 65535"));
    let name = match host {
        None => return number.map(Place::Loopback),
        Some("") => return number.map(Place::All),
        Some(name) => name,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match bare {
        Some(v6) if v6.parse::<Ipv6Addr>().is_err() => {
            return Err(error("what is in brackets is no IPv6 address"));
        }
        None if name.contains(':') && !name.contains('/') => {
            return Err(error("an IPv6 address is in brackets"));
        }
        None if name.contains(|c: char| c.is_whitespace() || "/@".contains(c)) => {
            return Err(error("there is more than an address"));
        }
        _ => {}
    }
    Ok(Place::Named(bare.unwrap_or(name).to_owned(), number?))
}

impl SocketMode {
    /// As the system has them.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for SocketMode {
    fn default() -> Self {
        Self(0o660)
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03o}", self.0)
    }
}

impl Value for SocketMode {
    const EXAMPLE: &'static str = "\"660\"";

    fn read(text: &str) -> Result<Self, String> {
        match u32::from_str_radix(text, 8) {
            // To connect is to write.
            Ok(mode) if mode <= 0o777 && mode & 0o222 != 0 => Ok(Self(mode)),
            Ok(mode) if mode <= 0o777 => Err(format!(
                "{text:?} lets nobody connect, for nobody may write; write for example 660"
            )),
            _ => Err(format!("{text:?} are no permissions; write for example 660, or 666 for all")),
        }
    }

    fn of_number(number: u64) -> Result<Self, String> {
        Self::read(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_alone_a_port_for_all_or_whole() {
        let addresses = |text| {
            let address = ListenAddress::read(text).expect(text);
            address.resolve(SocketMode::default(), None).expect(text).to_string()
        };
        for (text, expected) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "[::]:8080, 0.0.0.0:8080"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(addresses(text), expected, "{text}");
        }
        for (text, problem) in [
            ("127.0.0.1", "the port is missing"),
            ("", "the port is missing"),
            ("localhost", "the port is missing"),
            ("localhost:http", "the port is no number"),
            ("127.0.0.1:99999", "the port is no number"),
            ("99999", "the port is missing"),
            ("::1:80", "an IPv6 address is in brackets"),
            ("[::x]:80", "what is in brackets"),
            ("http://localhost:80", "there is more than an address"),
        ] {
            let error = ListenAddress::read(text).expect_err(text);
            assert!(error.contains(problem) && error.contains("127.0.0.1:8080"), "{error}");
        }
    }

    #[test]
    fn a_socket_is_a_path_or_has_a_name() {
        let resolve = |text: &str, sockets: &[&str]| {
            let sockets: Vec<_> = sockets
                .iter()
                .map(|name| InheritedSocket { name: (*name).to_owned(), address: None })
                .collect();
            let address = ListenAddress::read(text).expect(text);
            address.resolve(SocketMode::default(), Some(&sockets)).map(|it| it.to_string())
        };
        assert_eq!(
            resolve("unix:/run/a.sock", &[]).expect("a path"),
            "unix:/run/a.sock with mode 660"
        );
        assert_eq!(resolve("unix:a b", &[]).expect("a path"), "unix:a b with mode 660");
        for (text, sockets, found) in [
            ("systemd", &["web"][..], "the socket web that"),
            ("systemd:web", &["numbers", "web"], "the socket web that"),
            ("systemd:sse-server.socket", &["sse-server.socket"], "the socket sse-server.socket"),
        ] {
            let text = resolve(text, sockets).expect(text);
            assert!(text.starts_with(found), "{text}");
        }
        for (text, sockets, problem) in [
            ("systemd", &[][..], "no socket was handed over"),
            ("systemd", &["a", "b"], "several sockets were handed over: a, b"),
            ("systemd:c", &["a", "b"], "no socket \"c\" was handed over; there are a, b"),
        ] {
            let error = resolve(text, sockets).expect_err(text);
            assert!(error.contains(problem), "{error}");
        }
        for text in ["unix:", "unix:@name", "unix:/run/", "unix:///run/a.sock"] {
            let error = ListenAddress::read(text).expect_err(text);
            assert!(error.contains("unix:/run/sse-server.sock"), "{error}");
        }
        // A machine can have this name.
        let address = ListenAddress::read("systemd:80").expect("a name and a port");
        assert_eq!(address.place, Place::Named("systemd".to_owned(), 80));
    }

    #[test]
    fn permissions_are_octal_and_let_somebody_in() {
        for (text, mode) in [("660", 0o660), ("0666", 0o666), ("600", 0o600)] {
            assert_eq!(SocketMode::read(text), Ok(SocketMode(mode)));
        }
        assert_eq!(SocketMode::of_number(660), Ok(SocketMode(0o660)));
        for text in ["", "rw", "888", "1777", "444", "0"] {
            SocketMode::read(text).expect_err(text);
        }
    }
}

//! The kinds of values: times, numbers, addresses, networks, what is logged.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Url;
use tracing_subscriber::EnvFilter;

use super::{Value, readable};

/// A time that is longer than nothing, such as `30s`, `15m` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub(crate) Duration);

/// A number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub(crate) u64);

/// An address to listen on. A port alone is on 127.0.0.1, `:8080` is on all addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    text: String,
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    All,
    Loopback,
    Named(String),
}

/// Addresses and networks, with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub(crate) Vec<IpNet>);

/// Names and addresses of hosts, with commas and without ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames(pub(crate) Vec<String>);

/// Where a server is, for the commands that talk to one.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

/// What to log, as `tracing` filter directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(pub(crate) String);

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

readable!(Time, Count, ListenAddress, Networks, HostNames, ServerUrl, LogFilter, LogFormat);

impl Value for Time {
    const EXAMPLE: &'static str = "\"7d\"";

    fn read(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Err(format!("{text:?}: must be longer than nothing")),
            Ok(time) => Ok(Self(time)),
            Err(problem) => {
                Err(format!("{text:?}: {problem}; write for example 30s, 15m, 24h or 7d"))
            }
        }
    }

    fn of_number(number: u64) -> Result<Self, String> {
        Err(format!(
            "{number} is no time without a unit; write for example \"{number}s\" or \"7d\""
        ))
    }
}

impl Value for Count {
    const EXAMPLE: &'static str = "1000";

    fn read(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) => Self::of_number(number),
            Err(_) => Err(format!("{text:?} is no whole number; write for example 1000")),
        }
    }

    fn of_number(number: u64) -> Result<Self, String> {
        match number {
            0 => Err("with 0 nothing could pass; write 1 or more, or leave it out for the default"
                .to_owned()),
            number => Ok(Self(number)),
        }
    }
}

impl Count {
    /// As a number of things in memory.
    pub(crate) fn of_things(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl ListenAddress {
    /// This port, on all addresses of the machine.
    pub const fn on_all(port: u16) -> Self {
        Self { text: String::new(), host: Host::All, port }
    }

    /// Looks the name up, if it has one. The first address that works is meant.
    ///
    /// # Errors
    ///
    /// If the name has no address.
    pub fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        Ok(match &self.host {
            // IPv6's takes IPv4 too, where there is IPv6.
            Host::All => vec![
                (Ipv6Addr::UNSPECIFIED, self.port).into(),
                (Ipv4Addr::UNSPECIFIED, self.port).into(),
            ],
            Host::Loopback => vec![(Ipv4Addr::LOCALHOST, self.port).into()],
            Host::Named(name) => {
                let found: Vec<_> = (&**name, self.port).to_socket_addrs()?.collect();
                if found.is_empty() {
                    return Err(std::io::Error::other("the name has no address"));
                }
                found
            }
        })
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        let host = Host::Named(address.ip().to_string());
        Self { text: address.to_string(), host, port: address.port() }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.text {
            "" => write!(f, ":{}", self.port),
            text => f.write_str(text),
        }
    }
}

impl Value for ListenAddress {
    const EXAMPLE: &'static str = "\"127.0.0.1:8080\"";

    fn read(text: &str) -> Result<Self, String> {
        let error = |problem: &str| {
            format!(
                "{text:?} is no address and port: {problem}; write for example 127.0.0.1:8080, 8080 \
                 for this machine alone, or :8080 for all addresses"
            )
        };
        let (host, port) = match text.rsplit_once(':') {
            None if text.parse::<u16>().is_ok() => (Host::Loopback, text),
            None => return Err(error("the port is missing")),
            Some(("", port)) => (Host::All, port),
            Some((name, port)) => {
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
                (Host::Named(bare.unwrap_or(name).to_owned()), port)
            }
        };
        let port = port.parse().map_err(|_| error("the port is no number up to 65535"))?;
        Ok(Self { text: text.to_owned(), host, port })
    }

    fn of_number(number: u64) -> Result<Self, String> {
        Self::read(&number.to_string())
    }
}

impl Value for Networks {
    const EXAMPLE: &'static str = "\"10.0.0.0/8,::1\"";

    fn read(text: &str) -> Result<Self, String> {
        let parse = |text: &str| {
            let network =
                text.parse().or_else(|_| text.parse().map(|address: IpAddr| address.into()));
            network.map_err(|_| {
                format!(
                    "{text:?} is neither an address nor a network; write for example 10.0.0.0/8"
                )
            })
        };
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Value for HostNames {
    const EXAMPLE: &'static str = "\"sse.example.com,10.0.0.5\"";

    fn read(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if name.parse::<IpAddr>().is_ok() || name.chars().all(is_name) {
                return Ok(name.trim_end_matches('.').to_owned());
            }
            Err(format!("{name:?} is no name; it needs `sse.example.com,10.0.0.5`, without ports"))
        });
        names.collect::<Result<_, _>>().map(Self)
    }
}

impl Value for ServerUrl {
    const EXAMPLE: &'static str = "\"http://127.0.0.1:8080\"";

    fn read(text: &str) -> Result<Self, String> {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                Ok(Self(text.trim_end_matches('/').to_owned()))
            }
            // It may have a password in it.
            _ => {
                Err("this is no URL of a server; write for example http://127.0.0.1:8080"
                    .to_owned())
            }
        }
    }
}

impl ServerUrl {
    /// The URL of a path of the server.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Value for LogFormat {
    const EXAMPLE: &'static str = "\"json\"";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is neither text nor json")),
        }
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Value for LogFilter {
    const EXAMPLE: &'static str = "\"warn,sse_server=debug\"";

    fn read(text: &str) -> Result<Self, String> {
        let error = |problem: String| {
            Err(format!("{problem}; write for example info, or warn,sse_server=debug"))
        };
        if text.trim().is_empty() {
            return error("there is nothing in it".to_owned());
        }
        // A word alone would be taken for the name of a module, and everything in it logged.
        for word in text.split(',').map(str::trim) {
            let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if is_word && !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) {
                let levels = LEVELS.join(", ");
                return error(match nearest(word, LEVELS) {
                    Some(level) => format!("{word:?} is no level; did you mean {level}?"),
                    None => format!("{word:?} is not one of the levels {levels}"),
                });
            }
        }
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(problem) => error(format!("{text:?} is no log filter: {problem}")),
        }
    }
}

/// The one of these names that somebody who wrote `wrong` has most likely meant.
pub(crate) fn nearest<'a>(
    wrong: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // As clap does it for flags.
    let wrong = wrong.to_ascii_lowercase();
    let likely = names.into_iter().map(|name| (strsim::jaro(&wrong, name), name));
    let best = likely.filter(|(likeness, _)| *likeness > 0.7);
    best.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_alone_a_port_for_all_or_whole() {
        let addresses = |text| {
            let address = ListenAddress::read(text).expect(text);
            let found = address.addresses().expect(text);
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        for (text, expected) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "[::]:8080 0.0.0.0:8080"),
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
    fn a_log_filter_that_would_log_nothing_is_refused() {
        for (text, problem) in [
            ("", "nothing in it"),
            ("trce", "did you mean trace?"),
            ("warn,inof", "did you mean info?"),
            ("everything", "\"everything\" is not one of the levels off, error"),
            ("a=b=c", "is no log filter"),
            ("sse_server=loud", "is no log filter"),
        ] {
            let error = LogFilter::read(text).expect_err(text);
            assert!(error.contains(problem), "{text}: {error}");
        }
        for text in ["info", "WARN", "off", "warn,sse_server=debug", "sse_server::hub=trace"] {
            LogFilter::read(text).expect(text);
        }
    }
}

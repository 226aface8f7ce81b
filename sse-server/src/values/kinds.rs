//! The kinds of values: times, numbers, networks, what is logged.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::Url;
use tracing_subscriber::EnvFilter;

use super::{Value, readable};

/// A time that is longer than nothing, such as `30s`, `15m` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub(crate) Duration);

/// A time that may be nothing, such as `0s` or `5s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause(pub(crate) Duration);

/// A number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub(crate) u64);

/// Addresses and networks, with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub(crate) Vec<IpNet>);

/// Names and addresses of hosts, with commas and without ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames(pub(crate) Vec<String>);

/// A path that others begin with, such as `/sse`: without a slash at its end. Empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(pub(crate) String);

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

readable!(Time, Pause, Count, BasePath, Networks, HostNames, ServerUrl, LogFilter, LogFormat);

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

impl Value for Pause {
    const EXAMPLE: &'static str = "\"5s\"";

    fn read(text: &str) -> Result<Self, String> {
        if matches!(humantime::parse_duration(text), Ok(Duration::ZERO)) || text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        Time::read(text).map(|Time(time)| Self(time))
    }

    fn of_number(number: u64) -> Result<Self, String> {
        if number == 0 {
            Ok(Self::default())
        } else {
            Time::of_number(number).map(|_| Self::default())
        }
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

impl Pause {
    /// None: it is nothing.
    pub(crate) fn positive(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

impl Count {
    /// As a number of things in memory.
    pub(crate) fn of_things(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
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

impl Value for BasePath {
    const EXAMPLE: &'static str = "\"/sse\"";

    fn read(text: &str) -> Result<Self, String> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let is_part = |part: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
            !matches!(part, "" | "." | "..") && part.chars().all(is_plain)
        };
        match path.strip_prefix('/') {
            Some(parts) if parts.split('/').all(is_part) => Ok(Self(path.to_owned())),
            None if path.is_empty() => Ok(Self::default()),
            _ => Err(format!(
                "{text:?} is no path of letters, digits and -._~ that begins with a slash; write for example /sse"
            )),
        }
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

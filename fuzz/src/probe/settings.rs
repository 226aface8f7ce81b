//! How a server is probed.

use std::time::Duration;

use clap::ValueEnum;

use super::publish::Hook;

/// What kind of server it is said to be. Some expectations depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// One for the browsers' `EventSource`.
    #[default]
    Eventsource,
    /// django-eventstream, or this project's server.
    Django,
    /// A stream of the Model Context Protocol.
    #[value(name = "mcp-2025-11-25")]
    Mcp20251125,
    /// The answer of a language model: it ends, and is not resumed.
    Llm,
    /// A Mercure hub.
    Mercure,
    /// Any of them behind a GRIP proxy, which reads the requests and holds the streams.
    Grip,
}

impl Profile {
    /// As on the command line.
    pub fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// What to look at, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which expectations apply. Default: those of an `EventSource`.
    pub profile: Profile,
    /// Ids of checks or sections; all if empty. Default: empty.
    pub checks: Vec<String>,
    /// Headers for every request. Default: none.
    pub headers: Vec<(String, String)>,
    /// Headers in place of those, or beside them, as a second user would send them, who may not
    /// read the stream. Default: none, and what needs them is skipped.
    pub second_headers: Vec<(String, String)>,
    /// A body: then requests for the stream are `POST`. Default: none.
    pub body: Option<String>,
    /// How to publish. Default: not at all, and what needs it is skipped.
    pub publish: Option<Hook>,
    /// How long to wait for events. Longer is more certain on quiet streams. Default: 10 s.
    pub wait: Duration,
    /// How many events the witness must have seen before resumption can be judged. Default: 8.
    pub min_events: usize,
    /// Whether to look so much longer that faults which are rarer are found. Default: no.
    pub thorough: bool,
    /// Whether what is late is believed at once, and not asked for again. Default: no.
    pub once: bool,
    /// Chooses words and places of cuts; the same seed makes the same requests. Default: 1.
    pub seed: u64,
    /// Whether to do what may harm a server. Default: no.
    pub aggressive: bool,
    /// The server's process, to look at its memory and descriptors. Default: unknown.
    pub pid: Option<u32>,
    /// How long all of it may take. What was not come to is inconclusive. Default: 2 minutes.
    pub deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            checks: Vec::new(),
            headers: Vec::new(),
            second_headers: Vec::new(),
            body: None,
            publish: None,
            wait: Duration::from_secs(10),
            min_events: 8,
            thorough: false,
            once: false,
            seed: 1,
            aggressive: false,
            pid: None,
            deadline: Duration::from_mins(2),
        }
    }
}

impl Settings {
    /// How much more is looked at with `--thorough`.
    pub(super) const MORE: usize = 8;

    /// As many as that, or so many times more.
    pub(super) const fn times(&self, count: usize) -> usize {
        if self.thorough { count * Self::MORE } else { count }
    }
}

//! A check as a value: what is expected, what a violation means, when it runs and what runs.

use std::borrow::Cow;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::context::Probe;
use super::finding::{Finding, Judged};
use super::lines::Stream;
use super::outcome::About;
use super::payload::Payload;
use crate::verdict::Verdict;

/// What a violation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It breaks the standard, or an `EventSource`.
    Error,
    /// Attackers can use it to harm others.
    Security,
    /// Some clients, proxies or servers will stumble.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The verdict on a violation.
    pub(crate) const fn verdict(self) -> Verdict {
        match self {
            Self::Error | Self::Security => Verdict::Fail,
            Self::Warning => Verdict::Warn,
            Self::Note => Verdict::Info,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Security => "security",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What a check needs beside the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Url,
    /// A way to publish.
    Publish,
    /// The server's process.
    Process,
    /// That the server speaks HTTP/2.
    Http2,
    /// A second user's credentials.
    SecondUser,
    /// A URL with `https`.
    Tls,
}

impl Needs {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Url => "URL",
            Self::Publish => "publishing",
            Self::Process => "`--pid`",
            Self::Http2 => "HTTP/2",
            Self::SecondUser => "`--second-header`",
            Self::Tls => "`https`",
        }
    }
}

/// When a check has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// While no other check runs: it measures, or depends on the order of connections.
    Alone,
    /// Others may run at the same time.
    Together,
    /// When the streams that it reads have been gathered.
    Gathered,
    /// After all others, which it could disturb.
    Last,
}

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// The first answer, even if it is no event stream.
    Answer,
    /// The witness's stream, and those that others have read.
    Streams,
    /// Answers to requests of its own.
    Requests,
}

/// What must have been seen before the absence of a fault is a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needed {
    Bytes,
    Event,
    Id,
    End,
}

/// A check that is still running.
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Judged> + Send + 'a>>;

/// What a check does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    /// Looks for a fault in the bytes of each stream that has been read.
    Read(Needed, fn(&Stream<'_>) -> Option<Finding>),
    /// Looks at what the run has seen so far.
    Look(fn(&Probe) -> Finding),
    /// Makes requests, or waits for something to come.
    Ask(for<'a> fn(&'a Probe) -> Running<'a>),
    /// Publishes this text in this field of an event.
    Publish(&'static str, &'static Payload),
}

/// Makes [`Run::Ask`] of an asynchronous function, and of its arguments after the probe.
macro_rules! ask {
    ($function:path $(, $argument:expr)* $(,)?) => {
        $crate::probe::check::Run::Ask(|probe| Box::pin($function(probe $(, $argument)*)))
    };
}
pub(super) use ask;

/// One thing that is looked at.
#[derive(Clone, Debug)]
pub struct Check {
    id: Cow<'static, str>,
    title: Cow<'static, str>,
    severity: Severity,
    needs: Needs,
    reference: &'static str,
    is_aggressive: bool,
    pub(super) turn: Turn,
    pub(super) basis: Basis,
    /// It is about coming back with a last event ID.
    pub(super) is_resuming: bool,
    /// It runs only if its id is on the command line.
    pub(super) is_named_only: bool,
    pub(super) run: Run,
}

impl Check {
    /// One that needs only the URL and may run beside others.
    pub(super) const fn new(
        id: &'static str,
        severity: Severity,
        reference: &'static str,
        title: &'static str,
        run: Run,
    ) -> Self {
        let (basis, turn) = match run {
            Run::Read(..) => (Basis::Streams, Turn::Gathered),
            Run::Look(_) => (Basis::Streams, Turn::Together),
            Run::Ask(_) => (Basis::Requests, Turn::Together),
            Run::Publish(..) => (Basis::Requests, Turn::Last),
        };
        Self {
            id: Cow::Borrowed(id),
            title: Cow::Borrowed(title),
            severity,
            needs: Needs::Url,
            reference,
            is_aggressive: false,
            turn,
            basis,
            is_resuming: false,
            is_named_only: false,
            run,
        }
    }

    /// With a name and an expectation that were put together.
    pub(super) fn named(self, id: String, title: String) -> Self {
        Self { id: id.into(), title: title.into(), ..self }
    }

    pub(super) const fn with(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    pub(super) const fn at(mut self, turn: Turn) -> Self {
        self.turn = turn;
        self
    }

    pub(super) const fn on(mut self, basis: Basis) -> Self {
        self.basis = basis;
        self
    }

    pub(super) const fn aggressive(mut self) -> Self {
        self.is_aggressive = true;
        self
    }

    pub(super) const fn resuming(mut self) -> Self {
        self.is_resuming = true;
        self
    }

    pub(super) const fn named_only(mut self) -> Self {
        self.is_named_only = true;
        self
    }

    pub(super) fn about(&self) -> About<'_> {
        About {
            id: &self.id,
            title: &self.title,
            severity: self.severity,
            reference: self.reference,
        }
    }

    /// The name that never changes: a section and a word, such as `con.status`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is expected, in one line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What a violation means.
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// What it needs.
    pub const fn needs(&self) -> Needs {
        self.needs
    }

    /// Where the expectation is written.
    pub const fn reference(&self) -> &'static str {
        self.reference
    }

    /// Whether it can harm a server, and runs only with `--aggressive`.
    pub const fn is_aggressive(&self) -> bool {
        self.is_aggressive
    }
}

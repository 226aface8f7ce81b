//! A check as a value: what is expected, what a violation means, what it needs and what runs.

use std::pin::Pin;

use super::answer::Answer;
use super::origin::Origin;
use crate::probe::Severity;
use crate::probe::finding::Judged;
use crate::probe::outcome::About;

/// What a check needs beside the URL and the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Url,
    /// A way to publish.
    Publish,
    /// In whose name the proxy signs.
    Issuer,
    /// The key that the origin verifies with, which is public.
    PublicKey,
    /// A second user's credentials.
    SecondUser,
}

impl Needs {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Url => "URL",
            Self::Publish => "publishing",
            Self::Issuer => "`--issuer`",
            Self::PublicKey => "`--public-key`",
            Self::SecondUser => "`--second-header`",
        }
    }
}

/// A check that is still running.
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Judged> + Send + 'a>>;

/// What a check does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    /// Asks the origin.
    Ask(for<'a> fn(&'a Origin) -> Running<'a>),
    /// Looks for a fault in each answer to the proxy that the run has got.
    Look(fn(&Answer) -> Option<String>),
}

/// Makes [`Run::Ask`] of an asynchronous function, and of its arguments after the origin.
macro_rules! ask {
    ($function:path $(, $argument:expr)* $(,)?) => {
        $crate::grip::check::Run::Ask(|origin| Box::pin($function(origin $(, $argument)*)))
    };
}
pub(super) use ask;

/// One thing that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    id: &'static str,
    title: &'static str,
    severity: Severity,
    needs: Needs,
    reference: &'static str,
    pub(super) run: Run,
}

impl Check {
    /// One that needs only the URL.
    pub(super) const fn new(
        id: &'static str,
        severity: Severity,
        reference: &'static str,
        title: &'static str,
        run: Run,
    ) -> Self {
        Self { id, title, severity, needs: Needs::Url, reference, run }
    }

    pub(super) const fn with(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    pub(super) const fn about(&self) -> About<'static> {
        let Self { id, title, severity, reference, .. } = *self;
        About { id, title, severity, reference }
    }

    /// The name that never changes: a section and a word, such as `sig.expired`.
    pub const fn id(&self) -> &'static str {
        self.id
    }

    /// What is expected, in one line.
    pub const fn title(&self) -> &'static str {
        self.title
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
}

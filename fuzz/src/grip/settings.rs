//! How an origin is asked.

use std::time::Duration;

use super::signer::Signer;
use crate::probe::Hook;

/// Who asks, and what may be done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signs as the proxy does.
    pub signer: Signer,
    /// Ids of checks or sections; all if empty.
    pub checks: Vec<String>,
    /// Headers of the client, such as a cookie. They go with its request, and not to next links.
    pub headers: Vec<(String, String)>,
    /// Headers in place of those, or beside them, of a second user, whose streams are others.
    /// Without any, what needs them is skipped.
    pub second_headers: Vec<(String, String)>,
    /// How to publish to the origin. Without it, what needs it is skipped.
    pub publish: Option<Hook>,
    /// How long to wait until what was published is in answers.
    pub wait: Duration,
    /// How long all of it may take. What was not come to is inconclusive.
    pub deadline: Duration,
}

impl Settings {
    /// With a signature alone; 10 s to wait, 2 minutes in all.
    pub const fn new(signer: Signer) -> Self {
        Self {
            signer,
            checks: Vec::new(),
            headers: Vec::new(),
            second_headers: Vec::new(),
            publish: None,
            wait: Duration::from_secs(10),
            deadline: Duration::from_mins(2),
        }
    }
}

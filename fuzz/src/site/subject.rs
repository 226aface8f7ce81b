//! Who was tested: a server by the probe, or a client by the hostile server.

use serde::{Deserialize, Serialize};

use crate::probe::Report;
use crate::verdict::{Summary, Verdict};

/// What the hostile server has written of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Client {
    /// The client's command.
    #[serde(rename = "client")]
    pub(super) command: String,
    #[serde(default)]
    pub(super) version: String,
    #[serde(default)]
    pub(super) date: String,
    pub(super) cases: Vec<Case>,
}

/// What came of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) correct: String,
    pub(super) reference: String,
    pub(super) verdict: Verdict,
    pub(super) reasons: Vec<String>,
    pub(super) evidence: Vec<String>,
    #[serde(default)]
    pub(super) seconds: f32,
}

/// Who was tested, and what came of it.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    Server(Box<Report>),
    Client(String, Client),
}

impl Subject {
    /// Those of a file: servers of the probe, several perhaps, or a client.
    pub(super) fn read(name: Option<&str>, bytes: &[u8]) -> serde_json::Result<Vec<Self>> {
        if let Ok(client) = serde_json::from_slice::<Client>(bytes) {
            let called = name.unwrap_or(&client.command).to_owned();
            return Ok(vec![Self::Client(called, client)]);
        }
        let mut reports = Report::from_json(bytes)?;
        for report in &mut reports {
            report.name = name.map(str::to_owned).or_else(|| report.name.take());
        }
        Ok(reports.into_iter().map(|report| Self::Server(Box::new(report))).collect())
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Server(report) => report.name.as_deref().unwrap_or(&report.target),
            Self::Client(name, _) => name,
        }
    }

    pub(super) fn date(&self) -> &str {
        match self {
            Self::Server(report) => &report.date,
            Self::Client(_, client) => &client.date,
        }
    }

    /// The version of sse-fuzz.
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Server(report) => &report.version,
            Self::Client(_, client) => &client.version,
        }
    }

    /// Ids and verdicts.
    pub(super) fn verdicts(&self) -> Vec<(&str, Verdict)> {
        match self {
            Self::Server(report) => {
                report.checks.iter().map(|check| (&*check.id, check.verdict)).collect()
            }
            Self::Client(_, client) => {
                client.cases.iter().map(|case| (&*case.id, case.verdict)).collect()
            }
        }
    }

    /// How many came to each verdict in a section.
    pub(super) fn summary(&self, section: &str) -> Summary {
        let verdicts = self.verdicts();
        let of = |id: &str| id.split('.').next() == Some(section);
        Summary::of(verdicts.iter().filter(|(id, _)| of(id)).map(|(_, verdict)| *verdict))
    }

    /// A file of its own: letters and digits of its name, and its number, which is its alone.
    pub(super) fn file(&self, number: usize, end: &str) -> String {
        let slug = self.name().to_lowercase();
        let words = slug.split(|char: char| !char.is_ascii_alphanumeric());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).take(5).collect();
        format!("{}-{}.{end}", number + 1, words.join("-"))
    }

    /// The report, to be read again.
    pub(super) fn json(&self) -> String {
        let json = match self {
            Self::Server(report) => serde_json::to_string_pretty(report),
            Self::Client(_, client) => serde_json::to_string_pretty(client),
        };
        json.expect("a report is JSON")
    }
}

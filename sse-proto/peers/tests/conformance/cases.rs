//! Reads the cases of `../vectors/*.json` that are about the standard alone: those without limits and
//! comments, which are additions of ours.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use sse_peers::{Delivered, Event};

/// A vector file.
pub(crate) struct Group {
    /// Its name, without the extension.
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) cases: Vec<Case>,
}

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) stream: Vec<u8>,
    /// The last event ID from before the stream.
    pub(crate) last_event_id: String,
    pub(crate) expected: Delivered,
}

/// The vector files that have such cases, in the order of their names.
pub(crate) fn all() -> Vec<Group> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
    let entries = fs::read_dir(folder).expect("the vectors are beside this package");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("can be listed").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let groups = paths.iter().map(|path| read(path));
    groups.filter(|group| !group.cases.is_empty()).collect()
}

fn read(path: &Path) -> Group {
    let json = fs::read_to_string(path).expect("a vector file can be read");
    let file: File =
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let plain = |case: &Written| case.limits.is_none() && !case.comments;
    Group {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        about: file.about,
        cases: file.cases.into_iter().filter(plain).map(Case::from).collect(),
    }
}

#[derive(Deserialize)]
struct File {
    about: String,
    cases: Vec<Written>,
}

#[derive(Deserialize)]
struct Written {
    name: String,
    #[serde(default)]
    last_event_id: String,
    limits: Option<IgnoredAny>,
    #[serde(default)]
    comments: bool,
    steps: Vec<Step>,
    final_last_event_id: String,
}

#[derive(Deserialize)]
struct Step {
    /// One code point for each byte, U+0000 to U+00FF.
    bytes: String,
    expect: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    Event {
        event: String,
        data: String,
        id: String,
    },
    Retry {
        retry: u64,
    },
    /// A comment or an error, which only the cases have that are left out.
    Addition(IgnoredAny),
}

impl From<Written> for Case {
    fn from(written: Written) -> Self {
        let mut stream = Vec::new();
        let mut expected =
            Delivered { last_event_id: written.final_last_event_id, ..Delivered::default() };
        for step in written.steps {
            let byte = |char| u8::try_from(char).expect("vectors write bytes as U+0000 to U+00FF");
            stream.extend(step.bytes.chars().map(byte));
            for item in step.expect {
                match item {
                    Expected::Event { event: event_type, data, id: last_event_id } => {
                        expected.events.push(Event { event_type, data, last_event_id });
                    }
                    Expected::Retry { retry } => expected.retry = Some(retry),
                    Expected::Addition(_) => panic!("{} expects what it cannot", written.name),
                }
            }
        }
        Self { name: written.name, stream, last_event_id: written.last_event_id, expected }
    }
}

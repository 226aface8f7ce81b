//! Reads the conformance cases of `sse-proto/vectors/*.json`.

use std::{fs, path::Path};

use serde::Deserialize;

use crate::{
    additions::{Delivery, Wanted},
    oracle::Item,
};

/// One case: a stream in steps, and what each step must have delivered before the next is fed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub standard: String,
    pub why: String,
    /// The last event ID string from before the stream.
    #[serde(default)]
    pub last_event_id: String,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub comments: bool,
    pub steps: Vec<Step>,
    pub final_last_event_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub event: Option<usize>,
    pub line: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// One code point for each byte, U+0000 to U+00FF.
    bytes: String,
    expect: Vec<Expected>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Expected {
    Event { event: String, data: String, id: String },
    Retry { retry: u64 },
    Comment { comment: String },
    Error { error: Failure },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Failure {
    EventTooLarge,
    LineTooLarge,
}

/// A vector file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its name, without the extension.
    #[serde(skip)]
    pub name: String,
    pub about: String,
    pub cases: Vec<Case>,
}

impl Case {
    pub fn wanted(&self) -> Wanted {
        Wanted {
            comments: self.comments,
            event_limit: self.limits.event,
            line_limit: self.limits.line,
        }
    }

    /// The whole stream.
    pub fn bytes(&self) -> Vec<u8> {
        self.steps.iter().flat_map(Step::bytes).collect()
    }

    /// All that is delivered.
    pub fn expect(&self) -> Vec<Delivery> {
        self.steps.iter().flat_map(Step::expect).collect()
    }

    /// The case as the standard alone would have it, if it does have it: without limits, and
    /// without the comments.
    pub fn plain(&self) -> Option<Vec<Item>> {
        if self.limits.event.is_some() || self.limits.line.is_some() {
            return None;
        }
        let items = self.expect().into_iter().filter_map(|delivery| match delivery {
            Delivery::Item(item) => Some(item),
            _ => None,
        });
        Some(items.collect())
    }
}

impl Step {
    pub fn bytes(&self) -> Vec<u8> {
        let byte = |char| u8::try_from(char).expect("vectors write bytes as U+0000 to U+00FF");
        self.bytes.chars().map(byte).collect()
    }

    pub fn expect(&self) -> Vec<Delivery> {
        let delivery = |expected: &Expected| match expected.clone() {
            Expected::Event { event, data, id } => Delivery::Item(Item::Event { event, data, id }),
            Expected::Retry { retry } => Delivery::Item(Item::Retry(retry)),
            Expected::Comment { comment } => Delivery::Comment(comment),
            Expected::Error { error: Failure::EventTooLarge } => Delivery::EventTooLarge,
            Expected::Error { error: Failure::LineTooLarge } => Delivery::LineTooLarge,
        };
        self.expect.iter().map(delivery).collect()
    }
}

/// All cases of all files.
pub fn all() -> Vec<Case> {
    files().into_iter().flat_map(|file| file.cases).collect()
}

/// All files, in the order of their names.
pub fn files() -> Vec<File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sse-proto/vectors");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the vectors are beside the decoder")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();

    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> File {
    let json = fs::read_to_string(path).expect("a vector file can be read");
    let file: File =
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(file.about.ends_with('.'), "{}: `about` is a sentence", path.display());
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    File { name, ..file }
}

//! The cases of the vectors that are about the standard alone: those without limits and comments,
//! which are additions of ours.

use sse_peers::{Delivered, Event};
use testkit::oracle::Item;
use testkit::vectors;

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
    let groups = vectors::files().into_iter().map(|vectors::File { name, about, cases }| {
        let plain = cases.into_iter().filter(|case| case.wanted().is_plain());
        Group { name, about, cases: plain.map(Case::from).collect() }
    });
    groups.filter(|group| !group.cases.is_empty()).collect()
}

impl From<vectors::Case> for Case {
    fn from(written: vectors::Case) -> Self {
        let stream = written.bytes();
        let items = written.plain().expect("it has no limits");
        let vectors::Case { name, last_event_id, final_last_event_id, .. } = written;
        let mut expected = Delivered { last_event_id: final_last_event_id, ..Delivered::default() };
        for item in items {
            match item {
                Item::Event { event: event_type, data, id: last_event_id } => {
                    expected.events.push(Event { event_type, data, last_event_id });
                }
                Item::Retry(retry) => expected.retry = Some(retry),
            }
        }
        Self { name, stream, last_event_id, expected }
    }
}

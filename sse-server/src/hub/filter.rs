//! Which types of events a subscriber gets.

use std::collections::HashSet;
use std::sync::Arc;

use sse_proto::{DEFAULT_EVENT_TYPE, Rendered};

/// Types of events, to get these and no others. A copy is the same memory.
#[derive(Clone, Debug)]
pub struct Types(Arc<HashSet<Box<str>>>);

impl Types {
    /// Whether an event is of one of them.
    pub(super) fn has(&self, event: &Rendered) -> bool {
        // What is shared between streams is the wire's bytes, and they begin with the type.
        let event_type = event.head().strip_prefix(b"event: ").unwrap_or_default();
        let event_type = match event_type.strip_suffix(b"\n").unwrap_or_default() {
            b"" => DEFAULT_EVENT_TYPE,
            found => str::from_utf8(found).unwrap_or_default(),
        };
        self.0.contains(event_type)
    }

    /// In alphabetical order.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }
}

impl<T: Into<Box<str>>> FromIterator<T> for Types {
    fn from_iter<I: IntoIterator<Item = T>>(types: I) -> Self {
        Self(Arc::new(types.into_iter().map(Into::into).collect()))
    }
}

#[cfg(test)]
mod tests {
    use sse_proto::Event;

    use super::*;

    #[test]
    fn the_type_is_the_one_that_a_reader_would_see() {
        let types: Types = ["message", "a b", "é"].into_iter().collect();
        for (event_type, is_there) in [
            ("", true),
            ("message", true),
            ("a b", true),
            ("é", true),
            ("a", false),
            ("Message", false),
        ] {
            for id in ["1", "event: a b"] {
                let event = Event::builder("a\nevent: b").event_type(event_type).id(id).build();
                let event = Rendered::new(&event.expect("valid"));
                assert_eq!(types.has(&event), is_there, "{event_type}");
            }
            let event = Event::builder("").event_type(event_type).build().expect("valid");
            assert_eq!(types.has(&Rendered::new(&event)), is_there, "{event_type}");
        }
    }
}

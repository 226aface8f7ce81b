//! Which events a subscriber gets.

use std::collections::HashSet;
use std::sync::Arc;

use super::event::KeptEvent;

/// Whether a reader of these types (none: of all), who is this user, gets an event.
pub(super) fn lets(types: Option<&Types>, user: &str, event: &KeptEvent) -> bool {
    types.is_none_or(|types| types.has(event.event_type())) && event.is_for(user)
}

/// Types of events, to get these and no others. A copy is the same memory.
#[derive(Clone, Debug)]
pub struct Types(Arc<HashSet<Box<str>>>);

impl Types {
    /// Whether they have this one.
    pub(super) fn has(&self, event_type: &str) -> bool {
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

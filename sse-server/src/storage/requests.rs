//! Requests that are appended once, however often they arrive.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Instant, SystemTime};

use sha2::{Digest, Sha256};

use super::NewEvent;

/// What a publisher calls a request, so that it can be sent again without being published again;
/// and a fingerprint of what is in it, so that another request under the same name is noticed. Each
/// publisher has names of its own: none can take another's, nor learn of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestKey {
    name: String,
    fingerprint: [u8; 32],
}

/// Events that are appended together, all or none.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The events.
    pub events: &'a [NewEvent],
    /// The name of the request, if it has one.
    pub key: Option<&'a RequestKey>,
}

/// What became of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was appended now, with these ids.
    Appended(Vec<u64>),
    /// It had been appended before, with these ids. Nothing was done.
    Known(Vec<u64>),
    /// Another request had its name. Nothing was done.
    Reused,
}

impl RequestKey {
    /// What this publisher calls a request with this content.
    ///
    /// # Panics
    ///
    /// If the publisher's name has a space, with which the name of the request begins.
    pub fn new(publisher: &str, name: impl fmt::Display, content: &[u8]) -> Self {
        assert!(!publisher.contains(' '), "a publisher's name has no space");
        let fingerprint = Sha256::digest(content).into();
        Self { name: format!("{publisher} {name}"), fingerprint }
    }

    /// The publisher and the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fingerprint of the content.
    pub const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestKey").field(&self.name).finish()
    }
}

impl Outcome {
    /// What a request of this name leads to that had been appended with these ids.
    pub fn of_known(key: &RequestKey, fingerprint: &[u8], ids: Vec<u64>) -> Self {
        if key.fingerprint == fingerprint { Self::Known(ids) } else { Self::Reused }
    }
}

/// What a column of a table holds.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) fn json(list: &impl serde::Serialize) -> String {
    serde_json::to_string(list).expect("numbers and texts are JSON")
}

/// The users in a column of a table. A list that cannot be parsed is empty.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) fn users_of(column: Option<&str>) -> Vec<String> {
    column.and_then(|column| serde_json::from_str(column).ok()).unwrap_or_default()
}

/// A time on the clock that is never set: what is kept in memory ages by it, whatever happens to
/// the other one. None if it is from before the start.
pub(super) fn on_own_clock(time: SystemTime) -> Option<Instant> {
    match SystemTime::now().duration_since(time) {
        Ok(ago) => Instant::now().checked_sub(ago),
        Err(ahead) => Instant::now().checked_add(ahead.duration()),
    }
}

/// The names of requests, in memory.
#[derive(Debug, Default)]
pub(super) struct Requests {
    known: HashMap<RequestName, Known>,
    /// In the order in which they came.
    order: VecDeque<(Instant, RequestName)>,
}

type RequestName = std::sync::Arc<str>;

#[derive(Debug)]
struct Known {
    fingerprint: [u8; 32],
    ids: Vec<u64>,
}

impl Requests {
    /// Appends, unless that was done before.
    pub(super) fn append_once(
        &mut self,
        batch: &Batch<'_>,
        append: impl FnOnce(&[NewEvent]) -> Vec<u64>,
    ) -> Outcome {
        let Some(key) = batch.key else { return Outcome::Appended(append(batch.events)) };
        if let Some(known) = self.known.get(key.name()) {
            return Outcome::of_known(key, &known.fingerprint, known.ids.clone());
        }
        let ids = append(batch.events);
        let name: RequestName = key.name().into();
        self.order.push_back((Instant::now(), name.clone()));
        self.known.insert(name, Known { fingerprint: key.fingerprint, ids: ids.clone() });
        Outcome::Appended(ids)
    }

    /// Forgets at most `limit` that are older than this, and returns how many.
    pub(super) fn trim(&mut self, before: Instant, limit: usize) -> usize {
        let mut trimmed = 0;
        while trimmed < limit
            && let Some((_, name)) = self.order.pop_front_if(|(created, _)| *created < before)
        {
            self.known.remove(&name);
            trimmed += 1;
        }
        trimmed
    }
}

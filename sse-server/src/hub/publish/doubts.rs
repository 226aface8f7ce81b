//! Requests with a name that could not be stored, as far as is known.
//!
//! The storage may have stored the name, and only its answer was lost. Sent again, such a request
//! is known, and its events need not be stored again; but nobody has seen those of them that are
//! stored nowhere.

use tokio::time::Instant;

use crate::seams::HashMap;
use crate::storage::{Outcome, RequestKey};

/// How many are remembered. Of more the oldest are forgotten.
const MOST: usize = 1024;

/// By name, and since when.
#[derive(Debug, Default)]
pub(super) struct Doubts(HashMap<String, Instant>);

impl Doubts {
    /// Nobody knows whether this was stored.
    pub(super) fn add(&mut self, key: &RequestKey) {
        if mutant!("doubt-forgotten") {
            return;
        }
        self.0.insert(key.name().to_owned(), Instant::now());
        if self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, since)| **since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.0.remove(&oldest);
            }
        }
    }

    /// It is known now what became of a request. Returns whether it had been stored when nobody
    /// knew.
    pub(super) fn settle(&mut self, key: Option<&RequestKey>, outcome: &Outcome) -> bool {
        let was_in_doubt = key.is_some_and(|key| self.0.remove(key.name()).is_some());
        was_in_doubt && matches!(outcome, Outcome::Known(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: usize) -> RequestKey {
        RequestKey::new("p", name, b"")
    }

    #[test]
    fn what_was_in_doubt_is_settled_once() {
        let mut doubts = Doubts::default();
        let known = Outcome::Known(vec![]);
        assert!(!doubts.settle(Some(&key(1)), &known), "it was answered before");
        doubts.add(&key(1));
        assert!(!doubts.settle(None, &known));
        assert!(!doubts.settle(Some(&key(2)), &known));
        assert!(doubts.settle(Some(&key(1)), &known));
        assert!(!doubts.settle(Some(&key(1)), &known));
        doubts.add(&key(1));
        assert!(!doubts.settle(Some(&key(1)), &Outcome::Appended(vec![])), "it is stored now");
        assert!(!doubts.settle(Some(&key(1)), &known), "and was shown then");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_many_are_forgotten() {
        let mut doubts = Doubts::default();
        for name in 0..=MOST {
            doubts.add(&key(name));
            tokio::time::advance(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(doubts.0.len(), MOST);
        assert!(!doubts.settle(Some(&key(0)), &Outcome::Known(vec![])));
        assert!(doubts.settle(Some(&key(1)), &Outcome::Known(vec![])));
    }
}

//! Taking a subscriber apart that has everything there is, and putting it together again.

use std::sync::Arc;

use super::super::Shared;
use super::super::filter::Types;
use super::super::log::{At, Log};
use super::{Position, Round, Subscriber};

/// A subscriber taken apart.
pub(in crate::hub) struct Parts {
    pub(in crate::hub) shared: Arc<Shared>,
    pub(in crate::hub) joined: Vec<(Arc<Log>, usize)>,
    pub(in crate::hub) positions: Vec<Position>,
    pub(in crate::hub) types: Option<Types>,
    pub(in crate::hub) user: Arc<str>,
    pub(in crate::hub) is_untold: bool,
}

impl Subscriber {
    /// Whether it has, as far as it knows, everything there is.
    pub(crate) fn is_at_rest(&self) -> bool {
        let Round { asked, found, reading, .. } = &self.round;
        *asked == 0
            && found.is_empty()
            && reading.is_none()
            && self.begun.is_none()
            && self.positions.iter().all(|position| !position.is_unknown)
    }

    pub(in crate::hub) fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// What is left of one that is [at rest](Self::is_at_rest). The logs still count its readers.
    pub(in crate::hub) fn take_apart(mut self) -> Parts {
        Parts {
            shared: self.shared.clone(),
            joined: std::mem::take(&mut self.joined),
            positions: std::mem::take(&mut self.positions),
            types: self.types.take(),
            user: self.user.clone(),
            is_untold: self.is_untold,
        }
    }

    /// Goes on from here in a log that counts it as a reader already.
    pub(in crate::hub) fn rejoin(&mut self, log: &Arc<Log>, at: At) {
        self.joined.push((log.clone(), log.add_signal(self.signal.clone())));
        self.positions.push(Position::again(log.clone(), at));
    }

    /// Reads for this user, or `anonymous`, as before it was taken apart.
    pub(in crate::hub) fn refine(
        &mut self,
        types: Option<Types>,
        user: Option<Arc<str>>,
        is_untold: bool,
    ) {
        self.types = types;
        self.is_untold = is_untold;
        if let Some(user) = user {
            self.user = user;
        }
    }
}

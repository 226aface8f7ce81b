//! Who may publish to which channels, and who may say that permissions have changed.

use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::Pattern;

/// The tokens with which one may publish. Cloning gives another handle to the same ones.
#[derive(Clone, Debug)]
pub struct Publishers {
    tokens: Arc<RwLock<Vec<Arc<PublishToken>>>>,
}

/// A token, and what it allows.
#[derive(Clone)]
pub struct PublishToken {
    token: Vec<u8>,
    /// Whose it is. No space is in it.
    publisher: String,
    channels: Vec<Pattern>,
    changes_permissions: bool,
}

impl PublishToken {
    /// A token for these channels, of a publisher who is known by nothing else.
    pub fn new(token: impl Into<String>, channels: Vec<Pattern>) -> Self {
        let token = token.into().into_bytes();
        // Not the token, for it is stored with the keys of requests.
        let hash = Sha256::digest(&token);
        let hash = hash.iter().take(16).fold(0_u128, |all, &byte| all << 8 | u128::from(byte));
        Self { token, publisher: format!("#{hash:032x}"), channels, changes_permissions: false }
    }

    /// A token for everything. All of these are one publisher's: the server's operator.
    pub fn for_all(token: impl Into<String>) -> Self {
        let mut token =
            Self::new(token, vec![Pattern::without_claims("*")]).may_change_permissions(true);
        "*".clone_into(&mut token.publisher);
        token
    }

    /// Whose it is. Tokens of one name are one publisher's: an `Idempotency-Key` means the same
    /// with all of them, so that a token can be exchanged while requests are sent again. Spaces are
    /// left out. Default: each token is a publisher of its own.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.publisher = format!("@{}", name.replace(' ', ""));
        self
    }

    /// Whether it is good for `POST /permissions/changed` too, for the same channels. Default: no.
    #[must_use]
    pub const fn may_change_permissions(mut self, may: bool) -> Self {
        self.changes_permissions = may;
        self
    }

    /// Who publishes with it, as it stands before the keys of requests.
    pub(crate) fn publisher(&self) -> &str {
        &self.publisher
    }

    /// Whether it has less than this many bytes.
    pub(crate) fn is_shorter_than(&self, len: usize) -> bool {
        self.token.len() < len
    }

    pub(crate) fn may_publish_to(&self, channel: &str) -> bool {
        self.channels.iter().any(|pattern| pattern.matches(channel, |_| None))
    }

    /// Whether it is for all channels.
    pub(crate) fn is_for_all(&self) -> bool {
        self.channels.contains(&Pattern::without_claims("*"))
    }

    pub(crate) fn may_change(&self, channel: &str) -> bool {
        self.changes_permissions && self.may_publish_to(channel)
    }
}

impl Publishers {
    /// These tokens.
    pub(crate) fn new(tokens: Vec<PublishToken>) -> Self {
        let tokens = tokens.into_iter().map(Arc::new).collect();
        Self { tokens: Arc::new(RwLock::new(tokens)) }
    }

    /// From now on these tokens are good, and no others. Requests that were let in are finished.
    pub fn replace(&self, tokens: Vec<PublishToken>) {
        *self.write() = tokens.into_iter().map(Arc::new).collect();
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Adds a token.
    pub(crate) fn push(&self, token: PublishToken) {
        self.write().push(Arc::new(token));
    }

    /// The token that was given, if it is one.
    pub(crate) fn find(&self, given: &[u8]) -> Option<Arc<PublishToken>> {
        // All are compared, each in constant time, so that answers do not tell how much of a guess
        // was right, nor about which.
        let mut found = None;
        for token in self.tokens.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let is_same: Choice = token.token.ct_eq(given);
            if bool::from(is_same) {
                found = Some(token.clone());
            }
        }
        found
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Arc<PublishToken>>> {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for PublishToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishToken")
            .field("publisher", &self.publisher)
            .field("channels", &self.channels)
            .field("changes_permissions", &self.changes_permissions)
            .finish_non_exhaustive()
    }
}

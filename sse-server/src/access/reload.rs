//! Rules that can be exchanged while streams are open.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;

use super::{AccessError, AccessRequest, AllowAll, ChannelManager, Occasion, Principal};

/// Asks another manager, which can be exchanged. The caller that exchanges it has open streams
/// checked by [`Access::check_all`](super::Access::check_all) afterwards.
///
/// A principal keeps what the manager at its time has found out about it: a token is not verified
/// again.
pub struct Reloadable {
    current: RwLock<Arc<dyn ChannelManager>>,
}

impl Reloadable {
    /// Asks this manager at first. None: everyone may read everything.
    pub fn new(manager: Option<Arc<dyn ChannelManager>>) -> Self {
        Self { current: RwLock::new(manager.unwrap_or_else(|| Arc::new(AllowAll))) }
    }

    /// Asks this manager from now on.
    pub fn replace(&self, manager: Option<Arc<dyn ChannelManager>>) {
        let manager = manager.unwrap_or_else(|| Arc::new(AllowAll));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = manager;
    }

    fn current(&self) -> Arc<dyn ChannelManager> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ChannelManager for Reloadable {
    async fn authenticate(&self, request: &AccessRequest<'_>) -> Result<Principal, AccessError> {
        self.current().authenticate(request).await
    }

    async fn channels(
        &self,
        request: &AccessRequest<'_>,
        principal: &Principal,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        self.current().channels(request, principal).await
    }

    async fn can_read(&self, principal: &Principal, channel: &str) -> Result<bool, AccessError> {
        self.current().can_read(principal, channel).await
    }

    async fn refused(
        &self,
        principal: &Principal,
        channels: &[Arc<str>],
        occasion: Occasion,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        self.current().refused(principal, channels, occasion).await
    }

    fn is_reliable(&self, channel: &str) -> bool {
        self.current().is_reliable(channel)
    }

    async fn permission_changed(&self, user: Option<&str>, channel: &str) {
        self.current().permission_changed(user, channel).await;
    }

    async fn changes_missed(&self) {
        self.current().changes_missed().await;
    }

    fn wants_credentials(&self, principal: &Principal) -> bool {
        self.current().wants_credentials(principal)
    }

    fn is_open(&self) -> bool {
        self.current().is_open()
    }

    fn recheck(&self) -> Option<Duration> {
        self.current().recheck()
    }

    fn patience(&self) -> Duration {
        self.current().patience()
    }

    fn is_secret(&self, parameter: &str) -> bool {
        self.current().is_secret(parameter)
    }
}

impl fmt::Debug for Reloadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloadable").finish_non_exhaustive()
    }
}

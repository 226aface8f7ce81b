//! The application's own users and rules, as a channel manager.
//!
//! What the application says may panic: for one user, or one channel. Some of it is asked by tasks
//! that see to all streams, so no panic gets out of here. It counts as an answer that could not be
//! had.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tracing::error;

use crate::access::{AccessError, AccessRequest, AllowAll, ChannelManager, Occasion, Principal};
use crate::caught::caught;

/// Says who has sent a request.
type User = dyn Fn(Parts) -> BoxFuture<'static, Result<Principal, AccessError>> + Send + Sync;

/// Says whether they may read a channel.
type CanRead = dyn Fn(&Principal, &str) -> bool + Send + Sync;

/// What an application says of its users, and a manager for the rest.
pub(super) struct Host {
    user: Option<Box<User>>,
    can_read: Option<Box<CanRead>>,
    manager: Arc<dyn ChannelManager>,
}

impl Default for Host {
    fn default() -> Self {
        Self { user: None, can_read: None, manager: Arc::new(AllowAll) }
    }
}

impl Host {
    pub(super) fn set_user<F, R>(&mut self, user: F)
    where
        F: Fn(Parts) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Principal, AccessError>> + Send + 'static,
    {
        self.user = Some(Box::new(move |parts| user(parts).boxed()));
    }

    pub(super) fn set_user_by<E, S, F>(&mut self, state: S, user: F)
    where
        E: FromRequestParts<S> + Send + 'static,
        S: Clone + Send + Sync + 'static,
        F: Fn(E) -> Principal + Send + Sync + 'static,
    {
        let user = Arc::new(user);
        self.set_user(move |mut parts| {
            let (state, user) = (state.clone(), user.clone());
            async move {
                match E::from_request_parts(&mut parts, &state).await {
                    Ok(extracted) => Ok(user(extracted)),
                    Err(rejection) => Err(refused(&rejection.into_response())),
                }
            }
        });
    }

    pub(super) fn set_can_read(
        &mut self,
        can_read: impl Fn(&Principal, &str) -> bool + Send + Sync + 'static,
    ) {
        self.can_read = Some(Box::new(can_read));
    }

    pub(super) fn set_manager(&mut self, manager: Arc<dyn ChannelManager>) {
        self.manager = manager;
    }
}

/// What an extractor's refusal means for a stream.
fn refused(rejection: &axum::response::Response) -> AccessError {
    let status = rejection.status();
    if status.is_server_error() {
        AccessError::Unavailable(format!("the application's extractor has answered {status}"))
    } else {
        AccessError::Invalid("the application does not know you; log in".to_owned())
    }
}

/// The answer of the application, unless it panics.
async fn guarded<T>(
    answer: impl Future<Output = Result<T, AccessError>>,
) -> Result<T, AccessError> {
    caught(answer).await.unwrap_or_else(|problem| {
        error!(problem, "the application cannot say who may read what");
        Err(AccessError::Unavailable("the application has panicked".to_owned()))
    })
}

#[async_trait]
impl ChannelManager for Host {
    async fn authenticate(&self, request: &AccessRequest<'_>) -> Result<Principal, AccessError> {
        guarded(async {
            match (&self.user, request.parts()) {
                (Some(user), Some(parts)) => user(parts.clone()).await,
                (Some(_), None) => {
                    Err(AccessError::Unavailable("the head of the request is not there".to_owned()))
                }
                (None, _) => self.manager.authenticate(request).await,
            }
        })
        .await
    }

    async fn channels(
        &self,
        request: &AccessRequest<'_>,
        principal: &Principal,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        guarded(self.manager.channels(request, principal)).await
    }

    async fn can_read(&self, principal: &Principal, channel: &str) -> Result<bool, AccessError> {
        guarded(async {
            if self.can_read.as_ref().is_some_and(|can_read| !can_read(principal, channel)) {
                return Ok(false);
            }
            self.manager.can_read(principal, channel).await
        })
        .await
    }

    async fn refused(
        &self,
        principal: &Principal,
        channels: &[Arc<str>],
        occasion: Occasion,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        let may_not = |channel: &&Arc<str>| {
            self.can_read.as_ref().is_some_and(|can_read| !can_read(principal, channel))
        };
        guarded(async {
            let own: Vec<Arc<str>> = channels.iter().filter(may_not).cloned().collect();
            if own.is_empty() {
                return self.manager.refused(principal, channels, occasion).await;
            }
            Ok(own)
        })
        .await
    }

    fn is_reliable(&self, channel: &str) -> bool {
        self.manager.is_reliable(channel)
    }

    async fn permission_changed(&self, user: Option<&str>, channel: &str) {
        let told = async {
            self.manager.permission_changed(user, channel).await;
            Ok(())
        };
        guarded(told).await.ok();
    }

    async fn changes_missed(&self) {
        let told = async {
            self.manager.changes_missed().await;
            Ok(())
        };
        guarded(told).await.ok();
    }

    /// An anonymous reader may be somebody whose session has ended.
    fn wants_credentials(&self, principal: &Principal) -> bool {
        self.manager.wants_credentials(principal)
    }

    fn is_open(&self) -> bool {
        self.can_read.is_none() && self.manager.is_open()
    }

    fn recheck(&self) -> Option<Duration> {
        // What a closure answers may change at any time.
        let own = self.can_read.is_some().then(|| Duration::from_mins(1));
        self.manager.recheck().or(own)
    }

    fn patience(&self) -> Duration {
        self.manager.patience()
    }

    fn is_secret(&self, parameter: &str) -> bool {
        self.manager.is_secret(parameter)
    }
}

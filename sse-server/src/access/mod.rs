//! Who may read which channel: one trait, what the program's settings make of it, and ending
//! streams whose permission is gone.
//!
//! A [`ChannelManager`] decides; an [`Access`] asks it when a stream is opened, before each page
//! that is replayed, when somebody says that a permission has changed, and now and then. Without an
//! `Access` everyone may read everything.
//!
//! May enter: what a request carries, tokens, the operator's backend. May not: events, SQL, and
//! what an HTTP response looks like.

#[cfg(feature = "server")]
mod es_meta;
#[cfg(feature = "server")]
mod forward;
mod gate;
#[cfg(feature = "server")]
mod jwt;
mod pattern;
mod peers;
#[cfg(feature = "server")]
mod public_key;
mod publishers;
mod reload;
#[cfg(feature = "server")]
mod remote_keys;
mod request;
#[cfg(feature = "server")]
mod rules;
#[cfg(feature = "server")]
mod settings;
mod streams;
#[cfg(feature = "server")]
mod turns;
#[cfg(feature = "server")]
mod written;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub(crate) use gate::NotAdmitted;
pub use gate::{Access, ChangeError, Changed};
#[cfg(feature = "server")]
pub(crate) use jwt::{Key as TokenKey, Verifier};
pub use pattern::{Pattern, PatternError};
pub use publishers::{PublishToken, Publishers};
pub use reload::Reloadable;
pub(crate) use request::redacted;
pub use request::{AccessRequest, Original, Principal};
#[cfg(feature = "server")]
pub use rules::Rules;
#[cfg(feature = "server")]
pub use settings::{
    AccessSettings, EsMetaSettings, ForwardAuthSettings, JwtSettings, OneOrMany,
    PublishTokenSettings, RuleSettings, Secret, Secrets, SettingError,
};
pub(crate) use streams::{Ending, Guard};
#[cfg(feature = "server")]
pub(crate) use written::{SHORT_SECRET, token_text, without_line_end};

/// Why there is no answer to who somebody is, or what they may read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The credentials are not valid; the client needs others. Answered with 401, and this text.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be decided now; trying again may help. Answered with 503, and not with this text,
    /// which is for the log.
    #[error("{0}")]
    Unavailable(String),
    /// It was not tried, because too many other decisions wait. A new stream is answered with 503;
    /// an open one stays, and its [`patience`](ChannelManager::patience) does not run: nothing has
    /// failed.
    #[error("too many others are being decided about")]
    Busy,
    /// What is known of the principal is not enough any more, because the rules are others. An open
    /// stream ends without an error, so that its reader comes back with everything; a new one is
    /// answered with 503.
    #[error("the rules have changed meanwhile")]
    Outdated,
}

/// Why a [`ChannelManager`] is asked who may read what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Occasion {
    /// Somebody wants in. Only these questions are as many as strangers like.
    Opening,
    /// A stream is open: it is [due](ChannelManager::recheck), or reads the next page of a replay.
    Recheck,
    /// A stream is open, and its permission is said to have changed. The caller that says so waits.
    Change,
}

/// Decides which channels a request gets, and who may read them.
///
/// The counterpart of django-eventstream's channel manager. Every method has a default, and the
/// defaults let everyone read everything that they name.
///
/// The methods are called when a stream is opened, in the order in which they stand here;
/// [`can_read`](Self::can_read) is called again before each page of a replay, after a
/// [change](Access::permission_changed), and [now and then](Self::recheck). So it should be quick,
/// and may be called for many streams at the same time.
///
/// ```
/// use async_trait::async_trait;
/// use sse_server::access::{AccessError, AccessRequest, ChannelManager, Principal};
///
/// /// Everyone reads `news`; a user with a session reads their own channel too.
/// struct Sessions;
///
/// #[async_trait]
/// impl ChannelManager for Sessions {
/// async fn authenticate(&self, request: &AccessRequest<'_>) -> Result<Principal, AccessError> {
/// match request.cookie("session") { None => Ok(Principal::anonymous()), Some(session) if session
/// == "s3cret" => Ok(Principal::user("u1")), Some(_) => Err(AccessError::Invalid("the session has
/// ended; log in again".to_owned())), } }
///
/// async fn can_read(&self, principal: &Principal, channel: &str) -> Result<bool, AccessError> {
/// let own = principal.name().map(|user| format!("user-{user}")); Ok(channel == "news" ||
/// own.is_some_and(|own| own == channel)) } }
/// # use axum::http::HeaderMap;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let headers = HeaderMap::from_iter([("cookie".parse().unwrap(),
/// "session=s3cret".parse().unwrap())]); let request = AccessRequest::new("/events/",
/// "channel=user-u1", &headers); let principal = Sessions.authenticate(&request).await?;
/// assert!(Sessions.can_read(&principal, "user-u1").await?); assert!(!Sessions.can_read(&principal,
/// "user-u2").await?);
/// # Ok::<(), AccessError>(()) }).unwrap();
/// ```
#[async_trait]
pub trait ChannelManager: Send + Sync + 'static {
    /// Who has sent this request. Default: somebody anonymous.
    ///
    /// # Errors
    ///
    /// If there are credentials, and they do not hold; or if that cannot be found out now.
    async fn authenticate(&self, request: &AccessRequest<'_>) -> Result<Principal, AccessError> {
        let _ = request;
        Ok(Principal::anonymous())
    }

    /// The channels of the stream. Default: those that the request names.
    ///
    /// # Errors
    ///
    /// If that cannot be found out now.
    async fn channels(
        &self,
        request: &AccessRequest<'_>,
        principal: &Principal,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        let _ = principal;
        Ok(request.channels().to_vec())
    }

    /// Whether they may read this channel. Default: yes.
    ///
    /// # Errors
    ///
    /// If that cannot be found out now. An open stream goes on for as long as
    /// [`patience`](Self::patience) says; a new one is answered with 503.
    async fn can_read(&self, principal: &Principal, channel: &str) -> Result<bool, AccessError> {
        let _ = (principal, channel);
        Ok(true)
    }

    /// Those of the channels that they may not read. Default: asks [`can_read`](Self::can_read) for
    /// each; worth its own implementation where one question can be about all, or where the
    /// questions of many who want in could hold up those about readers who are in.
    ///
    /// # Errors
    ///
    /// As [`can_read`](Self::can_read).
    async fn refused(
        &self,
        principal: &Principal,
        channels: &[Arc<str>],
        occasion: Occasion,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        let _ = occasion;
        let mut refused = Vec::new();
        for channel in channels {
            if !self.can_read(principal, channel).await? {
                refused.push(channel.clone());
            }
        }
        Ok(refused)
    }

    /// Whether the channel's events are stored and have ids, if anything is. Default: yes. Not
    /// asked by [`Access`], for it is about publishing too: give it to
    /// [`HubConfig::reliable`](crate::hub::HubConfig::reliable).
    fn is_reliable(&self, channel: &str) -> bool {
        let _ = channel;
        true
    }

    /// Somebody says that this user (none: everyone anonymous) may read more or less of this
    /// channel than before. Called on every instance, before the streams concerned are checked
    /// again: whatever is remembered about it must be forgotten. Default: nothing is.
    async fn permission_changed(&self, user: Option<&str>, channel: &str) {
        let _ = (user, channel);
    }

    /// Changes may have been missed, because the relay did not work: everything that is remembered
    /// must be forgotten. All streams are checked again after this. Default: nothing is remembered.
    async fn changes_missed(&self) {}

    /// Whether somebody who was refused a channel should be asked for credentials, with 401, rather
    /// than told that it is forbidden, by a `stream-error`. Default: no, as in django-eventstream.
    fn wants_credentials(&self, principal: &Principal) -> bool {
        let _ = principal;
        false
    }

    /// Whether everyone may read everything, so that only the network keeps strangers out. Then
    /// requests by which a web page of another name asks this machine are refused
    /// (`docs/operations.md`). Default: no.
    fn is_open(&self) -> bool {
        false
    }

    /// How often each open stream is checked again although no change was announced.
    /// Default: every 60 s. `None` if the answers to a principal never change.
    fn recheck(&self) -> Option<Duration> {
        Some(Duration::from_mins(1))
    }

    /// How long a stream stays open while its permission cannot be checked. Default: 60 s. Shorter
    /// gives more certainty, longer survives longer outages of what is asked.
    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }

    /// Whether this parameter of the query is a credential, and is not to be logged. Default: no.
    fn is_secret(&self, parameter: &str) -> bool {
        let _ = parameter;
        false
    }
}

/// Everyone may read everything: the defaults of [`ChannelManager`], and nothing to check again.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl ChannelManager for AllowAll {
    fn is_open(&self) -> bool {
        true
    }

    fn recheck(&self) -> Option<Duration> {
        None
    }
}

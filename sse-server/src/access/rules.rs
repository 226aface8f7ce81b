//! The manager that the program's settings describe: rules by channel, and where credentials come
//! from.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::es_meta::{self, EsMeta};
use super::forward::{Asker, ForwardAuth};
use super::jwt::{Jwt, text};
use super::{AccessError, AccessRequest, ChannelManager, Occasion, Pattern, Principal};

/// Who may read the channels of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allow {
    /// Everyone.
    Public,
    /// Readers with valid credentials.
    Authenticated,
    /// Readers whose token lists the channel.
    Token,
    /// Readers that the operator's backend lets in.
    Backend,
    /// No reader.
    Nobody,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) patterns: Vec<Pattern>,
    pub(super) allow: Allow,
}

/// Rules by channel name: the first whose pattern matches decides, and what no rule matches is
/// refused.
///
/// Made from [`AccessSettings`](super::AccessSettings). How to write them is in `docs/auth.md`.
#[derive(Debug)]
pub struct Rules {
    pub(super) list: Vec<Rule>,
    pub(super) jwt: Option<Jwt>,
    pub(super) es_meta: Option<EsMeta>,
    pub(super) backend: Option<ForwardAuth>,
}

/// What is kept of a request beside the principal, because answering again needs it.
#[derive(Default)]
struct Known {
    /// The channels that a token lists.
    listed: Vec<Pattern>,
    /// The channels that the stream has, whatever the request names.
    pinned: Option<Vec<Arc<str>>>,
    /// What the backend gets to see of the request.
    asker: Option<Asker>,
    /// The backend knows who it is, even if it refuses.
    is_recognised: bool,
}

impl Rules {
    /// Whether the secret of `es-meta` could be guessed.
    pub(crate) fn has_short_es_meta_secret(&self) -> bool {
        self.es_meta.as_ref().is_some_and(|es_meta| es_meta.is_weak)
    }

    /// Fetches what the rules need from elsewhere, so that the first reader need not wait for it.
    /// It is fetched when it is needed otherwise.
    pub async fn fetch_keys(&self) {
        if let Some(jwt) = &self.jwt {
            jwt.fetch_keys().await;
        }
    }

    /// What is left out of these rules although it was given, and why, for the operator.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = String> + '_ {
        let keys = self.jwt.iter().flat_map(|jwt| &jwt.left_out);
        keys.map(|problem| format!("access.jwt.jwks-file: {problem}; the key is left out"))
    }

    fn allow(&self, principal: &Principal, channel: &str) -> Allow {
        let claim = |name: &str| match (name, principal.claims().get(name)) {
            (_, Some(value)) => text(value),
            // However they were named, so that a rule means the same with all credentials.
            ("sub" | "user", None) => principal.name().map(str::to_owned),
            _ => None,
        };
        let matches = |rule: &&Rule| rule.patterns.iter().any(|it| it.matches(channel, claim));
        self.list.iter().find(matches).map_or(Allow::Nobody, |rule| rule.allow)
    }

    /// Those of the channels that the backend decides about.
    fn for_backend(&self, principal: &Principal, channels: &[Arc<str>]) -> Vec<Arc<str>> {
        let is_for = |channel: &&Arc<str>| self.allow(principal, channel) == Allow::Backend;
        channels.iter().filter(is_for).cloned().collect()
    }
}

#[async_trait]
impl ChannelManager for Rules {
    async fn authenticate(&self, request: &AccessRequest<'_>) -> Result<Principal, AccessError> {
        let mut known = Known::default();
        let pinned = match &self.es_meta {
            Some(es_meta) => es_meta.authenticate(request)?,
            None => None,
        };
        let mut principal = Principal::anonymous();
        if let Some((of_es_meta, channels)) = pinned {
            principal = of_es_meta;
            // Django has put them there for this reader.
            let listed = channels.iter().flatten();
            known.listed = listed.map(|name| Pattern::literal(name)).collect();
            known.pinned = channels;
        } else if let Some(jwt) = &self.jwt
            && let Some(of_token) = jwt.authenticate(request).await?
        {
            principal = of_token;
            known.listed = jwt.channels(&principal);
        }
        if let Some(backend) = &self.backend {
            let named = known.pinned.as_deref().unwrap_or(request.channels());
            let channels = self.for_backend(&principal, named);
            // As long as the stream is open, its headers are kept: not for nothing.
            if !channels.is_empty() {
                let asker = backend.asker(request);
                let answer = backend.ask(&asker, &channels, Occasion::Opening).await?;
                known.is_recognised = answer.is_known;
                if let Some(user) = answer.user.as_deref().filter(|_| principal.name().is_none()) {
                    let expires = principal.expires();
                    principal = Principal::user(user).with_claims(principal.claims().clone());
                    if let Some(expires) = expires {
                        principal = principal.with_expiry(expires);
                    }
                }
                known.asker = Some(asker);
            }
        }
        Ok(principal.with_context(known))
    }

    async fn channels(
        &self,
        request: &AccessRequest<'_>,
        principal: &Principal,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        let pinned = principal.context::<Known>().and_then(|known| known.pinned.clone());
        Ok(pinned.unwrap_or_else(|| request.channels().to_vec()))
    }

    async fn can_read(&self, principal: &Principal, channel: &str) -> Result<bool, AccessError> {
        let channels = [Arc::from(channel)];
        Ok(self.refused(principal, &channels, Occasion::Opening).await?.is_empty())
    }

    async fn refused(
        &self,
        principal: &Principal,
        channels: &[Arc<str>],
        occasion: Occasion,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        let known = principal.context::<Known>();
        let for_backend = self.for_backend(principal, channels);
        let answer = match &self.backend {
            Some(backend) if !for_backend.is_empty() => {
                // The backend was not asked under the rules, or about the user, of then.
                let asker = known.and_then(|known| known.asker.as_ref());
                let asker = asker.ok_or(AccessError::Outdated)?;
                Some(backend.ask(asker, &for_backend, occasion).await?)
            }
            _ => None,
        };
        let is_listed = |channel: &str| {
            known.is_some_and(|known| known.listed.iter().any(|it| it.matches(channel, |_| None)))
        };
        let may_read = |channel: &Arc<str>| match self.allow(principal, channel) {
            Allow::Public => true,
            Allow::Authenticated => principal.is_authenticated(),
            Allow::Token => is_listed(channel),
            Allow::Backend => answer.as_ref().is_some_and(|answer| answer.allows(channel)),
            Allow::Nobody => false,
        };
        Ok(channels.iter().filter(|channel| !may_read(channel)).cloned().collect())
    }

    async fn permission_changed(&self, _user: Option<&str>, _channel: &str) {
        self.changes_missed().await;
    }

    async fn changes_missed(&self) {
        if let Some(backend) = &self.backend {
            backend.forget();
        }
    }

    fn wants_credentials(&self, principal: &Principal) -> bool {
        let is_known = principal.context::<Known>().is_some_and(|known| known.is_recognised);
        !principal.is_authenticated() && !is_known && (self.jwt.is_some() || self.backend.is_some())
    }

    fn recheck(&self) -> Option<Duration> {
        self.backend.as_ref().map(ForwardAuth::recheck)
    }

    fn patience(&self) -> Duration {
        self.backend.as_ref().map_or(Duration::MAX, ForwardAuth::patience)
    }

    fn is_secret(&self, parameter: &str) -> bool {
        let of_jwt = self.jwt.as_ref().and_then(|jwt| jwt.parameter.as_deref());
        parameter == es_meta::PARAMETER || of_jwt == Some(parameter)
    }
}

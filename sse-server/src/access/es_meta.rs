//! django-eventstream's `es-meta` parameter: a token that pins the user and the channels of a
//! stream.
//!
//! Django signs it with its `SECRET_KEY` and puts it into the links of streams that a GRIP proxy
//! holds. It says who reads and what; whether they may is still asked.

use std::sync::Arc;

use serde_json::Value;

use super::jwt::{ES_META_ISSUER, Key, Verifier, text};
use super::{AccessError, AccessRequest, Principal};

pub(super) const PARAMETER: &str = "es-meta";

/// The user that stands for none.
const ANONYMOUS: &str = "anonymous";

/// Understands `es-meta`.
#[derive(Debug)]
pub(super) struct EsMeta {
    verifier: Verifier,
    /// Whether the secret could be guessed.
    pub(super) is_weak: bool,
}

/// The principal, and the channels, if they are pinned too.
pub(super) type Pinned = (Principal, Option<Vec<Arc<str>>>);

impl EsMeta {
    /// With tokens that are signed by this key.
    pub(super) fn new(key: Key, is_weak: bool) -> Self {
        // django-eventstream does not look at the issuer. It always writes it, though, and looking
        // keeps out the other tokens that a site signs with the same key.
        let issuers = [ES_META_ISSUER.to_owned()];
        let verifier = Verifier::new(vec![key], std::time::Duration::ZERO).issuers(&issuers);
        Self { verifier, is_weak }
    }

    /// The principal and the channels, if the request has the parameter.
    pub(super) fn authenticate(
        &self,
        request: &AccessRequest<'_>,
    ) -> Result<Option<Pinned>, AccessError> {
        let Some(token) = request.parameter(PARAMETER) else { return Ok(None) };
        let claims = self.verifier.verify(token.as_bytes())?;
        let channels = match claims.get("channels") {
            None | Some(Value::Null) => None,
            Some(Value::Array(names)) => {
                let mut channels: Vec<Arc<str>> = Vec::new();
                for name in names {
                    let Some(name) = name.as_str() else { return Err(no_name()) };
                    if !channels.iter().any(|known| **known == *name) {
                        channels.push(name.into());
                    }
                }
                Some(channels)
            }
            Some(_) => return Err(no_name()),
        };
        let mut principal = match claims.get("user").and_then(text) {
            None => Principal::anonymous(),
            Some(user) if user == ANONYMOUS => Principal::anonymous(),
            Some(user) => {
                // So that `user-{sub}` means the same with every kind of credentials.
                let claims = [("sub".to_owned(), Value::from(&*user))].into_iter().collect();
                Principal::user(user).with_claims(claims)
            }
        };
        if let Some(expiry) = self.verifier.expiry(&claims) {
            principal = principal.with_expiry(expiry);
        }
        Ok(Some((principal, channels)))
    }
}

fn no_name() -> AccessError {
    AccessError::Invalid("es-meta: the channels must be a list of names".to_owned())
}

//! Talking to a proxy.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Header, encode};
use reqwest::{RequestBuilder, StatusCode};
use serde::Serialize;

use super::GripProxy;
use super::item::{Item, Items};
use super::url::Authorization;

/// How long what we sign is good.
const SIGNED_FOR: Duration = Duration::from_mins(10);

/// What was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GripError {
    /// The proxy did not answer, or is not able to now; trying again may help.
    #[error("the proxy {0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// The proxy does not want this, now or later.
    #[error("the proxy {0} refuses what is published ({1}): {2}")]
    Refused(String, u16, String),
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    exp: u64,
}

impl GripProxy {
    /// Publishes these items, all or none.
    pub(super) async fn publish(&self, items: &[Item]) -> Result<(), GripError> {
        let body = serde_json::to_vec(&Items { items }).expect("strings are JSON");
        let request = self.0.client.post(format!("{}/publish/", self.control()));
        self.send(request.header("content-type", "application/json").body(body)).await
    }

    /// Has the proxy forget where channels end, and ask again about all connections.
    pub(super) async fn recover(&self) -> Result<(), GripError> {
        let request = self.0.client.post(format!("{}/recover/", self.control()));
        // Without a body, some clients send no length, and Pushpin wants one.
        self.send(request.header("content-length", "0").body(Vec::new())).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<(), GripError> {
        let unreachable =
            |problem: String| GripError::Unreachable(self.control().to_owned(), problem);
        let answer = self.authorized(request).send().await;
        let answer = answer.map_err(|error| unreachable(error.without_url().to_string()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = answer.text().await.unwrap_or_default();
        let text: String = text.trim().chars().take(200).collect();
        let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if status.is_server_error() || is_busy {
            return Err(unreachable(format!("{status}: {text}")));
        }
        Err(GripError::Refused(self.control().to_owned(), status.as_u16(), text))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.0.authorization {
            Authorization::None => request,
            Authorization::Basic(user, password) => request.basic_auth(user, Some(password)),
            Authorization::Bearer(token) => request.bearer_auth(token),
            Authorization::Signed { issuer, algorithm, key } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let claims = Claims { iss: issuer, exp: (now + SIGNED_FOR).as_secs() };
                match encode(&Header::new(*algorithm), &claims, key) {
                    Ok(token) => request.bearer_auth(token),
                    // The proxy says what it misses.
                    Err(_) => request,
                }
            }
        }
    }
}

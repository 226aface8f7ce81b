//! The state that a stream's events change, for those who ask its URL for JSON.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use tracing::warn;

use super::events::{NotOpened, Prepared, prepare};
use crate::access::AccessRequest;
use crate::caught::caught;
use crate::http::app::App;
use crate::http::error::Refusal;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

type Ask = dyn Fn(Vec<Arc<str>>) -> BoxFuture<'static, Result<Value, String>> + Send + Sync;

/// Asks the application for the state of some channels.
#[derive(Clone)]
pub(in crate::http) struct State(Arc<Ask>);

impl State {
    pub(in crate::http) fn new<F, R, T, E>(ask: F) -> Self
    where
        F: Fn(Vec<Arc<str>>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: fmt::Display,
    {
        let ask = Arc::new(ask);
        Self(Arc::new(move |channels| {
            let ask = ask.clone();
            let asked = async move {
                let state = ask(channels).await.map_err(|error| error.to_string())?;
                serde_json::to_value(state).map_err(|error| error.to_string())
            };
            caught(asked).map(Result::flatten).boxed()
        }))
    }

    /// The answer: for those who may read the channels, and with the position from which a stream
    /// goes on. That is taken before the state is asked for: an event can be in both, and in none.
    pub(super) async fn answer(
        &self,
        app: &Arc<App>,
        request: &AccessRequest<'_>,
        client: Option<IpAddr>,
    ) -> Response {
        let prepared = prepare(
            app,
            request,
            client,
            None,
            #[cfg(feature = "server")]
            None,
        );
        let Prepared { from, channels, .. } = match prepared.await {
            Ok(prepared) => prepared,
            // What a stream tells its reader in an event with status 200.
            Err(NotOpened::Error(error)) => {
                let (status, word) = if error.condition == "forbidden" {
                    (StatusCode::FORBIDDEN, "forbidden")
                } else {
                    (StatusCode::BAD_REQUEST, "bad-request")
                };
                return Refusal::new(status, word, error.text).into_response();
            }
            Err(why) => return why.answer(app),
        };
        match (self.0)(channels).await {
            Ok(state) => {
                let headers = [
                    (header::CACHE_CONTROL, "no-cache".to_owned()),
                    (header::VARY, "Accept".to_owned()),
                    (LAST_EVENT_ID, from.to_string()),
                ];
                (headers, Json(state)).into_response()
            }
            Err(problem) => {
                warn!(problem, path = request.path(), "the application does not tell the state");
                Refusal::unavailable("the state cannot be told now; try again").into_response()
            }
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

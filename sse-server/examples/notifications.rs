//! Notifications for each user, who is known by the application's session: nobody reads another's.
//!
//! ```sh
//! cargo run --bin notifications 127.0.0.1:8004
//! curl -N -H 'Cookie: session=of-ann' http://127.0.0.1:8004/notifications/ &
//! curl -d 'your parcel is here' http://127.0.0.1:8004/notify/ann
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::post;
use sse_server::access::{AccessError, AccessRequest, ChannelManager, Principal};
use sse_server::http::{Endpoint, Endpoints};
use sse_server::views::EventStreams;

/// Whose session it is. An application asks its session store, or takes what its layer has found:
/// `request.extension::<User>()`.
fn user_of<'a>(request: &AccessRequest<'a>) -> Option<&'a str> {
    request.cookie("session")?.strip_prefix("of-")
}

/// The channel of a stream is that of its user, whatever the request says.
struct Own;

#[async_trait]
impl ChannelManager for Own {
    async fn authenticate(&self, request: &AccessRequest<'_>) -> Result<Principal, AccessError> {
        let user = user_of(request);
        user.map(Principal::user).ok_or_else(|| AccessError::Invalid("log in first".to_owned()))
    }

    async fn channels(
        &self,
        _: &AccessRequest<'_>,
        user: &Principal,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        Ok(user.name().map(|name| format!("user-{name}").into()).into_iter().collect())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8004".to_owned());
    let endpoints = Endpoints::none().with(Endpoint::new("/notifications/")?)?;
    let streams = EventStreams::builder().access(Own).endpoints(endpoints).build();
    let router = streams.router();
    let notify = async move |Path(user): Path<String>, text: String| {
        let sent = streams.send_text(&format!("user-{user}"), "notification", text).await;
        sent.map_or(StatusCode::SERVICE_UNAVAILABLE, |_| StatusCode::NO_CONTENT)
    };
    let app = router.route("/notify/{user}", post(notify));
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, app).await?)
}

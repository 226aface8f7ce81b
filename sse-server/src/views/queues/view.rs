//! A route whose streams are channels of a queue, as a service.

use std::convert::Infallible;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use futures_util::future::BoxFuture;
use futures_util::stream::{PollNext, select_with_strategy};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::watch;
use tower_service::Service;

use super::{Queue, QueueError};
use crate::http::Refusal;
use crate::views::{Event, Resume, StreamView};

type Channel = dyn Fn(Parts) -> BoxFuture<'static, Result<String, QueueError>> + Send + Sync;
type Shape = dyn Fn(StreamView) -> StreamView + Send + Sync;

/// Answers requests with channels of a [`Queue`], which a closure of the application chooses: a
/// service for axum's `route_service`, and for every server of `http` types.
///
#[cfg_attr(feature = "redis", doc = "```no_run")]
#[cfg_attr(not(feature = "redis"), doc = "```ignore")]
/// use axum::Router;
/// use sse_server::views::queues::{Queue, QueueError, QueueView};
///
/// #[derive(Clone)]
/// struct User(u64);
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = Queue::builder().redis_channels("redis://127.0.0.1").await?;
/// let inbox = QueueView::new(&queue, |request| async move {
///     // What a layer of the application has found out.
///     let user = request.extensions.get::<User>().ok_or(QueueError::Forbidden)?;
///     Ok(format!("inbox.{}", user.0))
/// });
/// let app: Router = Router::new().route_service("/inbox", inbox);
/// # Ok(())
/// # }
/// ```
///
/// `GET` and `HEAD` are answered. What is refused has a status: see [`QueueError`].
#[derive(Clone)]
pub struct QueueView {
    queue: Queue,
    channel: Arc<Channel>,
    shape: Arc<Shape>,
    recheck: Option<Duration>,
    changed: Arc<watch::Sender<()>>,
}

impl QueueView {
    /// The closure is given the head of each request, and names the channel to read, or refuses. A
    /// name that comes from the request is the reader's choice: check it.
    pub fn new<F, R>(queue: &Queue, channel: F) -> Self
    where
        F: Fn(Parts) -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, QueueError>> + Send + 'static,
    {
        let channel = move |parts| {
            // The call may panic as well as what it returns.
            let called = std::panic::catch_unwind(AssertUnwindSafe(|| channel(parts)));
            match called {
                Ok(work) => AssertUnwindSafe(work)
                    .catch_unwind()
                    .map(|result| result.unwrap_or_else(|_| Err(panicked())))
                    .boxed(),
                Err(_) => std::future::ready(Err(panicked())).boxed(),
            }
        };
        Self {
            queue: queue.clone(),
            channel: Arc::new(channel),
            shape: Arc::new(|view| view),
            recheck: None,
            changed: Arc::new(watch::Sender::new(())),
        }
    }

    /// Changes each response: its keep-alive, when it ends, its
    /// [control events](StreamView::control_events).
    #[must_use]
    pub fn with(
        mut self,
        shape: impl Fn(StreamView) -> StreamView + Send + Sync + 'static,
    ) -> Self {
        self.shape = Arc::new(shape);
        self
    }

    /// How often the closure is asked again while a stream is open. If it refuses by then, or names
    /// another channel, the stream ends with a `stream-error`. Default: never, but by
    /// [`permissions_changed`](Self::permissions_changed).
    #[must_use]
    pub const fn recheck(mut self, period: Duration) -> Self {
        self.recheck = Some(period);
        self
    }

    /// Asks the closure again for every stream that is open, and ends those that it refuses now.
    pub fn permissions_changed(&self) {
        self.changed.send_replace(());
    }

    async fn answer(&self, parts: Parts) -> Result<Response<Body>, Response<Body>> {
        let query = parts.uri.query().unwrap_or_default();
        let resume = Resume::of(&parts.headers, query).map_err(IntoResponse::into_response)?;
        let channel = (self.channel)(parts.clone()).await.map_err(IntoResponse::into_response)?;
        // Whatever changes from here on is noticed.
        let changed = self.changed.subscribe();
        let view = self.queue.view(&channel, &resume).await;
        let view = view.map_err(IntoResponse::into_response)?;
        let refused = stream::once(self.clone().refused(parts, channel, changed));
        // Who may not read any more gets nothing else.
        let first = |(): &mut ()| PollNext::Left;
        let view =
            view.map_events(|events| select_with_strategy(refused.boxed(), events, first).boxed());
        Ok((self.shape)(view).into_response())
    }

    /// Completes when the closure says no to a stream that is open.
    async fn refused(
        self,
        parts: Parts,
        channel: String,
        mut changed: watch::Receiver<()>,
    ) -> Event {
        loop {
            let is_due = async {
                match self.recheck {
                    Some(period) => tokio::time::sleep(period).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender is a part of this.
                _ = changed.changed() => {}
                () = is_due => {}
            }
            let error = match (self.channel)(parts.clone()).await {
                Ok(now) if now == channel => continue,
                Ok(_) => QueueError::Forbidden,
                Err(error) => error,
            };
            // What may pass is no refusal.
            if !matches!(error, QueueError::Unavailable(_)) {
                return Event::error(error.to_stream_error());
            }
        }
    }
}

fn panicked() -> QueueError {
    QueueError::Panicked("the closure that names the channel".to_owned())
}

impl<B: Send + 'static> Service<Request<B>> for QueueView {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (view, (parts, _)) = (self.clone(), request.into_parts());
        async move {
            if ![Method::GET, Method::HEAD].contains(&parts.method) {
                let text = "a stream is read by GET";
                let refusal =
                    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", text);
                let mut response = refusal.into_response();
                let allowed = HeaderValue::from_static("GET, HEAD");
                response.headers_mut().insert(header::ALLOW, allowed);
                return Ok(response);
            }
            Ok(view.answer(parts).await.unwrap_or_else(|refusal| refusal))
        }
        .boxed()
    }
}

impl fmt::Debug for QueueView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueView").field("queue", &self.queue).finish_non_exhaustive()
    }
}

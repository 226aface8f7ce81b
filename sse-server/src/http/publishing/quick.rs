//! Publishing without a router, for the usual request of a publisher that sends one after the
//! other.
//!
//! Only where the server's routes are served as they are: a layer that an application has put
//! around them must see each request. What is not the usual request goes the usual way, refusals of
//! the head included, so that everything has one answer.

use std::sync::Arc;

use super::body::without_mark;
use super::publish;
use super::token::bearer;
use crate::access::PublishToken;
use crate::http::app::App;
use crate::http::error::Refusal;
use crate::hub::PublishThread;

/// Headers that change what a request means, or what its answer has.
const UNUSUAL: [&str; 8] = [
    "content-encoding",
    "expect",
    "idempotency-key",
    "origin",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The publish API, at its path.
#[derive(Clone, Debug)]
pub(in crate::http) struct Quick {
    app: Arc<App>,
    path: Arc<str>,
    /// Where its connections are served.
    pub(in crate::http) thread: PublishThread,
}

/// A request that may publish.
pub(in crate::http) struct Permitted {
    token: Arc<PublishToken>,
    /// The length of its body.
    pub(in crate::http) len: usize,
}

impl Quick {
    /// None: there is no thread for publishing.
    pub(in crate::http) fn new(app: Arc<App>) -> Option<Self> {
        let path = format!("{}/publish/", app.config.base_path).into();
        let thread = app.hub.publish_thread()?.clone();
        Some(Self { app, path, thread })
    }

    /// Whether this is the head of a usual request that may publish. If not, nothing is known of
    /// it.
    pub(in crate::http) fn permit(&self, request: &httparse::Request<'_, '_>) -> Option<Permitted> {
        let is_usual = request.method == Some("POST")
            && request.version == Some(1)
            && request.path == Some(&self.path);
        if !is_usual {
            return None;
        }
        let limits = &self.app.config.limits;
        let size = request.headers.iter().map(|header| header.name.len() + header.value.len());
        if request.headers.len() > limits.headers || size.sum::<usize>() > limits.header_size {
            return None;
        }
        let (mut token, mut len, mut host) = (None, None, None);
        for header in &*request.headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let once = if is("authorization") {
                token.replace(bearer(header.value)?)
            } else if is("content-length") {
                len.replace(header.value)
            } else if is("host") {
                host.replace(header.value)
            } else if is("connection") {
                (!header.value.eq_ignore_ascii_case(b"keep-alive")).then_some(header.value)
            } else if is("content-type") {
                (!is_json(header.value)).then_some(header.value)
            } else {
                UNUSUAL.iter().any(|name| is(name)).then_some(header.value)
            };
            if once.is_some() {
                return None;
            }
        }
        host?;
        let len = str::from_utf8(len?).ok()?;
        let is_number = !len.is_empty() && len.bytes().all(|byte| byte.is_ascii_digit());
        let len = is_number.then(|| len.parse().ok()).flatten()?;
        let token = self.app.config.publishers.find(token?)?;
        Some(Permitted { token, len })
    }

    /// Publishes what is in the body, and answers in JSON.
    pub(in crate::http) async fn publish(
        &self,
        permitted: &Permitted,
        body: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let answer = publish::act(&self.app, &permitted.token, None, without_mark(body)).await?;
        Ok(serde_json::to_vec(&answer).expect("ids are strings"))
    }

    /// Takes note of a refusal.
    pub(in crate::http) fn refused(&self, status: u16, code: &'static str) {
        self.app.config.operations.metrics().refused(status, code);
    }
}

/// What is read as JSON: everything but lines of it.
fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    [&b"application/json"[..], b"application/x-www-form-urlencoded", b"text/plain"]
        .iter()
        .any(|known| essence.trim_ascii().eq_ignore_ascii_case(known))
}

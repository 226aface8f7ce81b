//! The transport of browsers, and of whatever else runs JavaScript.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, USER_AGENT};
use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use url::Url;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, RequestCache, RequestCredentials,
    RequestInit, Response,
};

use super::{Pieces, RequestBody, ResponseBody, ResponseUrl, Transport, TransportError};
use crate::send::{BoxError, BoxFuture};

/// The global function `fetch` as a transport, in windows, workers and Node.
///
/// The browser follows redirects, decodes bodies, and names itself. What it does not allow a page
/// to do, no setting changes: another origin must allow each header by CORS, `Last-Event-ID` among
/// them; [`Builder::position_in_query`](crate::Builder::position_in_query) needs no such permit.
#[derive(Clone, Debug, Default)]
pub struct Fetch {
    with_credentials: bool,
}

impl Fetch {
    /// Sends cookies to the page's own origin.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to send cookies to other origins too, as `withCredentials` of the standard's
    /// `EventSource`.
    #[must_use]
    pub const fn with_credentials(mut self, with: bool) -> Self {
        self.with_credentials = with;
        self
    }

    async fn ask(
        self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<ResponseBody>, TransportError> {
        let (parts, body) = request.into_parts();
        let init = RequestInit::new();
        init.set_method(parts.method.as_str());
        init.set_cache(RequestCache::NoStore);
        init.set_credentials(if self.with_credentials {
            RequestCredentials::Include
        } else {
            RequestCredentials::SameOrigin
        });
        let headers = Headers::new().map_err(local)?;
        for (name, value) in &parts.headers {
            // The browser's own, or said by the cache mode. They would only need a permit.
            if !matches!(*name, ACCEPT_ENCODING | USER_AGENT | CACHE_CONTROL) {
                // A header of `fetch` has bytes, each as a character.
                let value: String = value.as_bytes().iter().copied().map(char::from).collect();
                headers.append(name.as_str(), &value).map_err(local)?;
            }
        }
        init.set_headers(&headers);
        if !body.is_empty() {
            init.set_body(&Uint8Array::from(&*body.into_bytes()));
        }
        let abort = Abort(AbortController::new().map_err(local)?);
        init.set_signal(Some(&abort.0.signal()));
        let global = js_sys::global();
        let fetch: Function =
            Reflect::get(&global, &"fetch".into()).and_then(JsCast::dyn_into).map_err(local)?;
        let url = parts.uri.to_string();
        let answer = fetch.call2(&global, &url.into(), &init).map_err(local)?;
        let answer = JsFuture::from(Promise::resolve(&answer)).await.map_err(broken)?;
        answered(&answer.unchecked_into(), abort)
    }
}

impl Transport for Fetch {
    fn send(
        &self,
        request: http::Request<RequestBody>,
    ) -> BoxFuture<Result<http::Response<ResponseBody>, TransportError>> {
        Box::pin(self.clone().ask(request))
    }

    fn has_user_agent(&self) -> bool {
        true
    }
}

fn answered(
    answer: &Response,
    abort: Abort,
) -> Result<http::Response<ResponseBody>, TransportError> {
    let mut response = http::Response::builder().status(answer.status());
    for entry in js_sys::try_iter(&answer.headers()).ok().flatten().into_iter().flatten() {
        let entry: Array = entry.map_err(broken)?.unchecked_into();
        let [name, value] = [0, 1].map(|at| entry.get(at).as_string().unwrap_or_default());
        // The browser has decoded the body.
        if name != "content-encoding" {
            let value: Vec<u8> = value.chars().map(|char| char as u8).collect();
            response = response.header(name, value);
        }
    }
    if let Ok(url) = Url::parse(&answer.url()) {
        response = response.extension(ResponseUrl(url));
    }
    let reader = answer.body().map(|body| body.get_reader().unchecked_into());
    let body = ResponseBody::of(Chunks { reader, reading: None, _abort: abort });
    response.body(body).map_err(TransportError::broken)
}

/// Aborts the request when it is dropped.
#[derive(Debug)]
struct Abort(AbortController);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of a response, chunk by chunk.
struct Chunks {
    reader: Option<ReadableStreamDefaultReader>,
    reading: Option<RefCell<JsFuture>>,
    _abort: Abort,
}

impl Pieces for Chunks {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        let Some(reader) = &self.reader else {
            return Poll::Ready(None);
        };
        let reading = self.reading.get_or_insert_with(|| RefCell::new(reader.read().into()));
        let result = ready!(Pin::new(reading.get_mut()).poll(cx));
        self.reading = None;
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                self.reader = None;
                return Poll::Ready(Some(Err(told(&error).into())));
            }
        };
        let property = |name: &str| Reflect::get(&result, &name.into()).unwrap_or_default();
        if property("done").is_truthy() {
            self.reader = None;
            return Poll::Ready(None);
        }
        let chunk = Uint8Array::new(&property("value")).to_vec();
        Poll::Ready(Some(Ok(chunk.into())))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn local(error: JsValue) -> TransportError {
    TransportError::local(told(&error))
}

/// Nothing tells whether the server has seen the request.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(error: JsValue) -> TransportError {
    TransportError::broken(told(&error))
}

/// What an exception says.
fn told(error: &JsValue) -> String {
    let message = Reflect::get(error, &"message".into()).ok().and_then(|text| text.as_string());
    message.unwrap_or_else(|| format!("{error:?}"))
}

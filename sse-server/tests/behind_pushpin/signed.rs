//! Requests that are signed as by the proxy, to see in the answer what the proxy is told.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use axum::http::HeaderValue;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use sse_client::reqwest::{self, Response};
use sse_server::access::{AccessError, AccessRequest, ChannelManager, Principal};
use testkit::pushpin::KEY;

use crate::origin::{Options, Origin};

/// Everyone may read everything; some get channels that they have not named.
struct Lavish;

#[async_trait]
impl ChannelManager for Lavish {
    async fn authenticate(&self, request: &AccessRequest<'_>) -> Result<Principal, AccessError> {
        let user = request.headers().get("x-user");
        let name = user.map(|user| String::from_utf8_lossy(user.as_bytes()).into_owned());
        Ok(name.map_or_else(Principal::anonymous, Principal::user))
    }

    async fn channels(
        &self,
        request: &AccessRequest<'_>,
        _: &Principal,
    ) -> Result<Vec<Arc<str>>, AccessError> {
        let more = request.headers().get("x-more").and_then(|more| more.to_str().ok());
        let more: usize = more.map_or(0, |more| more.parse().expect("a number"));
        let named = request.channels().iter().cloned();
        Ok(named.chain((0..more).map(|number| format!("more-{number}").into())).collect())
    }
}

async fn asked(origin: &Origin, query: &str, headers: &[(&'static str, HeaderValue)]) -> Response {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later than 1970");
    let claims = json!({"iss": "pushpin", "exp": (now + Duration::from_mins(1)).as_secs()});
    let key = EncodingKey::from_secret(KEY.as_bytes());
    let signature = encode(&Header::default(), &claims, &key).expect("a token");
    let url = format!("http://{}/events/?{query}", origin.address);
    let mut request = reqwest::Client::new().get(url).header("grip-sig", signature);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.send().await.expect("an answer")
}

fn is_held(answer: &Response) -> bool {
    assert_eq!(answer.status(), 200);
    let has_word = answer.headers().keys().any(|name| name.as_str().starts_with("grip-"));
    assert_eq!(has_word, answer.headers().contains_key("grip-link"));
    has_word
}

fn lavish() -> Options {
    Options { manager: Some(Arc::new(Lavish)), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_more_channels_than_a_proxy_holds_has_a_stream_of_our_own() {
    let Some(origin) = Origin::start(lavish()).await else { return };
    for (more, held) in [("0", true), ("8", true), ("9", false), ("15", false)] {
        for user in [None, Some("u")] {
            let mut headers = vec![("x-more", HeaderValue::from_static(more))];
            headers.extend(user.map(|user| ("x-user", HeaderValue::from_static(user))));
            let answer = asked(&origin, "channel=a", &headers).await;
            assert_eq!(is_held(&answer), held, "{more} more for {user:?}");
        }
    }
}

/// At the next link, without it, they would be somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_name_that_no_link_can_have_has_a_stream_of_our_own() {
    let Some(origin) = Origin::start(lavish()).await else { return };
    for (name, held) in [(&b"bob"[..], true), ("bøb".as_bytes(), false), (b"b\xf8b", false)] {
        let name = HeaderValue::from_bytes(name).expect("no control character");
        let answer = asked(&origin, "channel=a", &[("x-user", name)]).await;
        assert_eq!(is_held(&answer), held);
    }
}

/// Whatever has to be in the link when there are several pages: told to come back, they would get
/// the same again.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_link_would_be_too_long_is_one_of_our_own() {
    let Some(origin) = Origin::start(lavish()).await else { return };
    let names: Vec<String> = (0..3).map(|number| format!("é {number}").repeat(20)).collect();
    for name in &names {
        let text = "x".repeat(70_000);
        let event = sse_server::storage::NewEvent::new(name.as_str(), "message", text);
        origin.storage.append(&[event]).await.expect("stored");
    }
    let place = |name| format!("{}:0", sse_proto::encode_channel(name));
    let from = names.iter().map(|name| place(name)).collect::<Vec<_>>().join(",");
    let mut held = Vec::new();
    for length in (0..1000).step_by(20) {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for name in &names {
            query.append_pair("channel", name);
        }
        let query = query.append_pair("token", &"t".repeat(length)).finish();
        let headers = [("x-user", "u"), ("last-event-id", &from)];
        let headers = headers.map(|(name, value)| (name, value.parse().expect("a value")));
        let answer = asked(&origin, &query, &headers).await;
        held.push(is_held(&answer));
        if is_held(&answer) {
            let text = answer.text().await.expect("a text");
            assert!(!text.contains("connect again"), "with {length} bytes more");
        }
    }
    assert!(held.contains(&true) && held.contains(&false), "the limit is among them: {held:?}");
}

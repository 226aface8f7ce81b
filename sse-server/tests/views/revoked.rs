//! Whose permission is gone loses the streams of nested routers too, on every instance.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use sse_server::access::{Principal, PublishToken};
use sse_server::relay::RedisRelay;
use sse_server::storage::{RedisStorage, Retention};
use sse_server::views::EventStreams;
use testkit::server::{TOKEN, send};
use testkit::services::Own;

use crate::{get, serve};

/// So long that only the relay can be the reason why something is noticed.
const NEVER: Duration = Duration::from_hours(1);

/// Who may not read which channel.
type Refused = Arc<Mutex<HashSet<(String, String)>>>;

async fn instance(url: &str, refused: &Refused) -> (EventStreams, SocketAddr) {
    let refused = refused.clone();
    let is_refused = move |user: &Principal, channel: &str| {
        let place = (user.name().unwrap_or_default().to_owned(), channel.to_owned());
        refused.lock().expect("no panic").contains(&place)
    };
    let streams = EventStreams::builder()
        .storage(RedisStorage::open(url, Retention::default()).await.expect("a storage"))
        .relay(RedisRelay::open(url).await.expect("a relay"))
        .hub(|hub| hub.refresh(NEVER))
        .user(async |request| {
            let name = request.headers.get("x-user").and_then(|name| name.to_str().ok());
            Ok(name.map_or_else(Principal::anonymous, Principal::user))
        })
        .can_read(move |user, channel| !is_refused(user, channel))
        .publish_token(PublishToken::for_all(TOKEN))
        .build();
    let address = serve(Router::new().nest("/sse", streams.router())).await;
    (streams, address)
}

async fn changed(address: SocketAddr, token: &str, body: &str) -> (u16, String) {
    let request = format!(
        "POST /sse/permissions/changed HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = send(address, request.as_bytes()).await;
    (answer.status, answer.body().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_call_or_by_a_request_on_the_other_instance_it_ends_those_streams_and_no_others() {
    let Some(redis) = Own::redis().await else { return };
    let refused = Refused::default();
    let (here, here_at) = instance(&redis.url(), &refused).await;
    let (_there, there_at) = instance(&redis.url(), &refused).await;
    let open = async |user: &str, at| {
        let path = "/sse/events/?channel=a&channel=b";
        let mut stream = get(at, path, &format!("X-User: {user}\r\n")).await;
        stream.opening().await;
        stream
    };
    let mut ann = [open("ann", here_at).await, open("ann", there_at).await];
    let mut bob = [open("bob", here_at).await, open("bob", there_at).await];
    let mut eve = [open("eve", here_at).await, open("eve", there_at).await];

    // A call, where readers of both instances are concerned.
    refused.lock().expect("no panic").insert(("ann".to_owned(), "a".to_owned()));
    let told = here.channel_permission_changed(Some("ann"), "a").await.expect("told");
    assert_eq!((told.closed, told.instances), (1, 1));
    // The route, with the token only.
    let body = r#"{"user":"eve","channel":"b"}"#;
    refused.lock().expect("no panic").insert(("eve".to_owned(), "b".to_owned()));
    assert_eq!(changed(there_at, "another token", body).await.0, 401);
    let (status, told) = changed(there_at, TOKEN, body).await;
    assert_eq!((status, &*told), (200, r#"{"closed":1,"instances":1}"#));

    for channel in ["a", "b"] {
        here.send_event(channel, "message", "later").await.expect("sent");
    }
    for stream in ann.iter_mut().chain(&mut eve) {
        let rest = stream.body().await;
        assert!(rest.contains("forbidden") && !rest.contains("later"), "{rest}");
    }
    for stream in &mut bob {
        stream.until("id: a:1,b:1\ndata: \"later\"\n\n").await;
    }
    let again = get(there_at, "/sse/events/?channel=b", "X-User: eve\r\n").await.body().await;
    assert!(again.contains("forbidden"), "{again}");
}

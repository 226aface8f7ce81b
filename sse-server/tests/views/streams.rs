//! Channels within other people's servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get as on_get;
use axum::{Router, serve as axum_serve};
use futures_util::stream;
use serde_json::json;
use sse_server::access::{Principal, PublishToken};
use sse_server::http::{Endpoint, Endpoints};
use sse_server::storage::{NewEvent, SqliteStorage};
use sse_server::views::{EventStreams, SendError};
use testkit::wait::within;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower_service::Service;

use crate::{get, serve};

/// The user of a session, as a layer of the application has found it.
#[derive(Clone)]
struct User(String);

/// The same by an extractor: refuses those without a session.
impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.get().cloned().ok_or(StatusCode::UNAUTHORIZED)
    }
}

async fn session(mut request: Request, next: Next) -> Response {
    let name = request.headers().get("x-session").and_then(|name| name.to_str().ok());
    if let Some(name) = name {
        let user = User(name.to_owned());
        request.extensions_mut().insert(user);
    }
    next.run(request).await
}

fn of_extension(parts: &Parts) -> Principal {
    let user = parts.extensions.get::<User>();
    user.map_or_else(Principal::anonymous, |user| Principal::user(user.0.as_str()))
}

fn own(user: &Principal, channel: &str) -> bool {
    channel == "news" || user.name().is_some_and(|name| channel == format!("user-{name}"))
}

#[tokio::test]
async fn streams_are_nested_beside_the_applications_own_routes_and_a_second_hub() {
    let (one, two) = (EventStreams::builder().build(), EventStreams::builder().build());
    let app = Router::new()
        .route("/", on_get(async || "the application"))
        .route("/health/live", on_get(async || "its own"))
        .merge(one.router())
        .nest("/two", two.router())
        .fallback(async || (StatusCode::NOT_FOUND, "its own 404"));
    let address = serve(app).await;
    let mut first = get(address, "/events/?channel=a", "").await;
    let mut second = get(address, "/two/events/a/", "").await;
    first.opening().await;
    second.opening().await;
    assert_eq!(two.send_event("a", "message", &json!({"n": 2})).await.expect("sent"), Some(1));
    assert_eq!(one.send_text("a", "greeting", "1\n2").await.expect("sent"), Some(1));
    first.until("event: greeting\nid: a:1\ndata: 1\ndata: 2\n\n").await;
    second.until("event: message\nid: a:1\ndata: {\"n\":2}\n\n").await;
    assert_eq!(one.readers(), [("a".into(), 1)]);
    for (path, status, body) in [
        ("/", 200, "the application"),
        ("/health/live", 200, "its own"),
        ("/other", 404, "its own 404"),
        ("/publish/", 404, "its own 404"),
        ("/two/publish/", 404, "its own 404"),
    ] {
        let mut response = get(address, path, "").await;
        assert_eq!((response.status, &*response.body().await), (status, body), "{path}");
    }
    let page = get(address, "/two/events/a/", "Accept: text/html\r\n").await.body().await;
    assert!(page.contains("data-path=\"/events/a/\""), "the live page");
    let moved = get(address, "/two/events", "").await;
    assert_eq!((moved.status, moved.header("location")), (308, Some("./events/")));
}

#[tokio::test]
async fn users_are_those_of_the_applications_layers_and_extractors() {
    let by_layer = EventStreams::builder()
        .user(async |request| Ok(of_extension(&request)))
        .can_read(own)
        .build();
    let by_extractor = EventStreams::builder()
        .user_by((), |User(name)| Principal::user(name))
        .can_read(own)
        .build();
    let app = Router::new()
        .nest("/layer", by_layer.router())
        .nest("/extractor", by_extractor.router())
        .layer(middleware::from_fn(session));
    let address = serve(app).await;
    for (path, session, status, is_open) in [
        ("/layer/events/news/", "", 200, true),
        ("/layer/events/user-ann/", "", 200, false),
        ("/layer/events/user-ann/", "X-Session: ann\r\n", 200, true),
        ("/layer/events/user-ann/", "X-Session: bob\r\n", 200, false),
        ("/extractor/events/news/", "", 401, false),
        ("/extractor/events/user-bob/", "X-Session: bob\r\n", 200, true),
    ] {
        let mut response = get(address, path, session).await;
        assert_eq!(response.status, status, "{path} {session}");
        match (status, is_open) {
            (200, true) => response.opening().await,
            (200, false) => assert!(response.body().await.contains("\"condition\": \"forbidden\"")),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_permission_that_is_gone_ends_the_streams_concerned_and_no_others() {
    let may = Arc::new(AtomicBool::new(true));
    let asked = may.clone();
    let streams = EventStreams::builder()
        .user(async |request| Ok(of_extension(&request)))
        .can_read(move |user, _| user.name() != Some("ann") || asked.load(Ordering::SeqCst))
        .build();
    let address = serve(streams.router().layer(middleware::from_fn(session))).await;
    let mut ann = get(address, "/events/a/", "X-Session: ann\r\n").await;
    let mut bob = get(address, "/events/a/", "X-Session: bob\r\n").await;
    ann.opening().await;
    bob.opening().await;
    may.store(false, Ordering::SeqCst);
    let changed = streams.channel_permission_changed(Some("ann"), "a").await.expect("done");
    assert_eq!((changed.closed, changed.instances), (1, 0));
    streams.send_event("a", "message", "later").await.expect("sent");
    let rest = ann.body().await;
    assert!(rest.contains("forbidden") && !rest.contains("later"), "{rest}");
    bob.until("data: \"later\"\n\n").await;
}

#[tokio::test]
async fn only_what_a_channel_can_carry_is_sent_and_users_can_be_left_out() {
    let streams = EventStreams::builder()
        .max_event_len(100)
        .user(async |request| Ok(of_extension(&request)))
        .build();
    let not_json = std::collections::HashMap::from([(vec![1], 2)]);
    assert!(matches!(streams.send_event("a", "t", &not_json).await, Err(SendError::Json(_))));
    for (channel, event_type, text) in [
        ("", "t", "x"),
        ("a", "t\nx", "x"),
        ("a", "stream-reset", "x"),
        ("a", "t", &*"x".repeat(100)),
    ] {
        let sent = streams.send_text(channel, event_type, text).await;
        assert!(matches!(sent, Err(SendError::NotAllowed(_))), "{sent:?}");
    }
    let address = serve(streams.router().layer(middleware::from_fn(session))).await;
    let mut ann = get(address, "/events/a/", "X-Session: ann\r\n").await;
    ann.opening().await;
    let event = NewEvent::new("a", "message", "for others").skip_users(vec!["ann".to_owned()]);
    assert_eq!(streams.send(event).await.expect("sent"), Some(1));
    assert_eq!(streams.send_text("a", "message", "for all").await.expect("sent"), Some(2));
    assert_eq!(
        ann.until("for all\n\n").await,
        "id: a:0\n\nevent: message\nid: a:2\ndata: for all\n\n"
    );
}

#[tokio::test]
async fn the_host_ends_in_good_order_and_a_reader_goes_on_with_the_next_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut last_id = String::new();
    for round in 1..=2 {
        let storage = SqliteStorage::open(folder.path().join("events.db")).await.expect("a file");
        let streams = EventStreams::builder().storage(storage).build();
        let app = Router::new().nest("/sse", streams.router()).route("/view", {
            let streams = streams.clone();
            on_get(async move || streams.view(stream::pending::<String>()))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let (stop, stopped) = oneshot::channel::<()>();
        let ending = streams.clone().ends_with(async {
            stopped.await.ok();
        });
        let serving =
            tokio::spawn(
                async move { axum_serve(listener, app).with_graceful_shutdown(ending).await },
            );
        let mut view = get(address, "/view", "").await;
        view.until(":\n\n").await;
        let resume = format!("Last-Event-ID: {last_id}\r\n");
        let mut stream = get(address, "/sse/events/a/", &resume).await;
        stream.opening().await;
        if round == 2 {
            stream.until("id: a:2\ndata: 2\n\n").await;
        }
        for number in 1..=2 {
            let sent = streams.send_event("a", "message", &number).await.expect("sent");
            assert_eq!(sent, Some(2 * (round - 1) + number));
        }
        stream.until("data: 1\n\n").await;
        last_id = "a:1".to_owned();
        stop.send(()).expect("it waits");
        assert!(stream.body().await.contains("retry: "), "it is told when to come back");
        assert!(view.body().await.starts_with("retry: "));
        within("the server's end", serving).await.expect("no panic").expect("no error");
        streams.close().await;
        assert!(streams.send_event("a", "message", &3).await.is_err());
    }
}

#[tokio::test]
async fn it_is_a_service_for_servers_without_axum_and_publishes_for_those_with_a_token() {
    let token = PublishToken::for_all("a token to publish with");
    let mut streams = EventStreams::builder().publish_token(token).build();
    let request = http::Request::post("/publish/")
        .header("authorization", "Bearer a token to publish with")
        .body(axum::body::Body::from(r#"{"channel":"a","data":1}"#));
    let response = streams.call(request.expect("a request")).await.into_response();
    assert_eq!(response.status(), StatusCode::OK);
    let refused = http::Request::post("/publish/").body(axum::body::Body::empty());
    let response = streams.call(refused.expect("a request")).await.into_response();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn one_resource_is_its_state_as_json_its_changes_as_a_stream_and_a_page() {
    let orders = Endpoint::new("/orders/").expect("a path").channels(["orders"]).expect("a name");
    let paid = json!({"type": "object", "properties": {"paid": {"type": "integer"}}});
    let orders =
        orders.messages_types(["paid"]).expect("a type").schema("paid", paid.clone()).state(
            async |channels: Vec<Arc<str>>| {
                Ok::<_, String>(json!({"of": &*channels[0], "open": 2}))
            },
        );
    let broken = Endpoint::new("/broken/{channel}/").expect("a path");
    let broken = broken.state(async |_| Err::<(), _>("the secret reason"));
    let endpoints = Endpoints::none().with(orders).and_then(|all| all.with(broken)).expect("two");
    let streams = EventStreams::builder()
        .endpoints(endpoints)
        .user(async |request| Ok(of_extension(&request)))
        .can_read(|user, _| user.name().is_some())
        .build();
    let app = Router::new().nest("/api", streams.router()).layer(middleware::from_fn(session));
    let address = serve(app).await;
    streams.send_event("orders", "paid", &1).await.expect("sent");
    streams.send_event("orders", "other", &2).await.expect("sent");
    let json_of = "Accept: application/json\r\n";
    assert_eq!(get(address, "/api/orders/", json_of).await.status, 403);
    let ann = format!("X-Session: ann\r\n{json_of}");
    let mut state = get(address, "/api/orders/", &ann).await;
    assert_eq!(state.header("content-type"), Some("application/json"));
    assert_eq!(state.header("vary"), Some("Accept"));
    let position = state.header("last-event-id").expect("a position").to_owned();
    assert_eq!(position, "orders:2");
    assert_eq!(state.body().await, r#"{"of":"orders","open":2}"#);
    streams.send_event("orders", "paid", &3).await.expect("sent");
    let path = format!("/api/orders/?lastEventId={position}");
    let mut changes = get(address, &path, "X-Session: ann\r\nAccept: text/event-stream\r\n").await;
    changes.opening().await;
    assert_eq!(changes.until("\n\n").await, "event: paid\nid: orders:3\ndata: 3\n\n");
    let page = get(address, "/api/orders/", "Accept: text/html\r\n").await.body().await;
    assert!(page.contains("data-path=\"/orders/\""), "the live page");
    let mut broken = get(address, "/api/broken/a/", &ann).await;
    assert_eq!(broken.status, 503);
    assert!(!broken.body().await.contains("secret"));
    let api = streams.openapi("Orders", "1", "/api");
    assert_eq!(api["openapi"], "3.2.0");
    let answer = &api["paths"]["/api/orders/"]["get"]["responses"]["200"]["content"];
    let item = &answer["text/event-stream"]["itemSchema"]["oneOf"][0];
    assert_eq!(item["properties"]["event"], json!({"const": "paid"}));
    assert_eq!(item["properties"]["data"]["contentSchema"], paid);
    assert!(answer.get("application/json").is_some());
    let parameters = &api["paths"]["/api/broken/{channel}/"]["get"]["parameters"];
    assert_eq!(
        parameters[0],
        json!({"name": "channel", "in": "path", "required": true, "schema": {"type": "string"}})
    );
}

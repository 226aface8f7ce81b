//! The operator's backend is asked, remembered, and missed.

use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use access::{Answer, SECRET, answer, bearer, no_credentials, refused, token};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use port::Port;
use serde_json::json;
use server::{Server, TOKEN, send, within};
use sse_server::http;
use sse_server::hub::Hub;
use sse_server::storage::NoStorage;
use testkit::{access, port, server};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// A site that knows two sessions: `one` is u1 and reads `room-1` only, `all` reads everything.
#[derive(Default)]
struct Backend {
    /// Answered to everyone, if set.
    status: AtomicU16,
    asked: AtomicUsize,
    strangers: AtomicUsize,
    seen: Mutex<Vec<(Method, Uri, HeaderMap)>>,
    is_revoked: std::sync::atomic::AtomicBool,
    /// How long it is before the next question is answered, in milliseconds.
    pace: AtomicU64,
    turn: tokio::sync::Mutex<()>,
}

async fn decide(
    State(backend): State<Arc<Backend>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    backend.asked.fetch_add(1, Ordering::SeqCst);
    let cookie = headers.get(header::COOKIE).and_then(|it| it.to_str().ok()).map(str::to_owned);
    backend.seen.lock().expect("no panic").push((method, uri.clone(), headers));
    match backend.status.load(Ordering::SeqCst) {
        0 => {}
        // Does not answer.
        1 => std::future::pending().await,
        2 => {
            return ([(header::CONTENT_TYPE, "application/json")], "{\"channels\": 1}")
                .into_response();
        }
        3 => {
            let long = format!("{{\"user\": \"{}\"}}", "x".repeat(100_000));
            return ([(header::CONTENT_TYPE, "application/json")], long).into_response();
        }
        status => {
            let location = [(header::LOCATION, "/login/")];
            return (StatusCode::from_u16(status).expect("a status"), location).into_response();
        }
    }
    let pace = backend.pace.load(Ordering::SeqCst);
    if pace > 0 {
        let _turn = backend.turn.lock().await;
        tokio::time::sleep(Duration::from_millis(pace)).await;
    }
    let is_revoked = backend.is_revoked.load(Ordering::SeqCst);
    match cookie.as_deref() {
        Some(cookie) if cookie.starts_with("stranger=") && pace > 0 => {
            StatusCode::FORBIDDEN.into_response()
        }
        // Nobody knows when there is an answer for them.
        Some(cookie) if cookie.starts_with("stranger=") => {
            backend.strangers.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
        Some("session=one") if is_revoked => StatusCode::FORBIDDEN.into_response(),
        Some("session=one") => {
            let body = json!({"user": "u1", "channels": ["room-1"]}).to_string();
            ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
        }
        Some("session=header") => {
            [("x-sse-user", "u2"), ("x-sse-channels", "room-2, room-3*")].into_response()
        }
        Some("session=all") => StatusCode::NO_CONTENT.into_response(),
        Some(_) => StatusCode::FORBIDDEN.into_response(),
    }
}

/// Serves the backend, until the sender is dropped.
async fn serve(backend: &Arc<Backend>, port: &Port) -> tokio::sync::oneshot::Sender<()> {
    let listener = TcpListener::bind(port.to_string()).await.expect("it is held for this");
    let router = Router::new().route("/auth/", any(decide)).with_state(backend.clone());
    let (shutdown, ended) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let hub = Hub::new(Arc::new(NoStorage::new()));
        http::serve(listener, router, &hub, async { drop(ended.await) }).await;
    });
    shutdown
}

async fn with(port: &Port, more: &str) -> (Server, tempfile::TempDir) {
    with_flags(port, more, &[]).await
}

async fn with_flags(port: &Port, more: &str, flags: &[&str]) -> (Server, tempfile::TempDir) {
    let toml = format!(
        "[[access.rules]]\nchannel = \"news\"\nallow = \"public\"\n\
         [[access.rules]]\nchannel = \"user-{{user}}\"\nallow = \"authenticated\"\n\
         [[access.rules]]\nchannel = \"room-*\"\nallow = \"backend\"\n\
         [access.forward-auth]\nurl = \"http://{port}/auth/?site=x\"\n{more}\n"
    );
    access::configured_with(&toml, flags).await
}

/// Says that a permission has changed.
async fn change(server: &Server, user: &str, channel: &str) -> server::Response {
    let body = json!({"user": user, "channel": channel}).to_string();
    let (len, auth) = (body.len(), bearer(TOKEN));
    let head = format!(
        "POST /permissions/changed HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n{auth}\r\n"
    );
    send(server.address, format!("{head}{body}").as_bytes()).await
}

async fn get(server: &Server, channels: &[&str], headers: &str) -> Answer {
    let query: Vec<_> = channels.iter().map(|name| format!("channel={name}")).collect();
    answer(server.get(&format!("/events/?{}", query.join("&")), headers).await).await
}

fn session(name: &str) -> String {
    format!("Cookie: session={name}\r\n")
}

#[tokio::test]
async fn the_backend_says_who_may_read() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let _running = serve(&backend, &port).await;
    let (server, _folder) = with(&port, "").await;
    for (headers, channels, expected) in [
        (String::new(), &["room-1"][..], no_credentials()),
        (session("one"), &["room-1"], Answer::Opened),
        (session("one"), &["room-1", "news", "user-u1"], Answer::Opened),
        (session("one"), &["room-1", "room-2"], refused("room-2")),
        (session("one"), &["room-1", "user-u2"], refused("user-u2")),
        (session("header"), &["room-2", "room-35"], Answer::Opened),
        (session("header"), &["room-1"], refused("room-1")),
        (session("all"), &["room-1", "room-2"], Answer::Opened),
        (session("unknown"), &["room-1"], refused("room-1")),
        (session("one"), &["elsewhere"], no_credentials()),
        (String::new(), &["news"], Answer::Opened),
    ] {
        assert_eq!(get(&server, channels, &headers).await, expected, "{headers} {channels:?}");
    }
}

#[tokio::test]
async fn the_backend_gets_the_chosen_headers_and_the_channels() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let _running = serve(&backend, &port).await;
    let (server, _folder) = with(&port, "headers = [\"cookie\", \"x-tenant\"]").await;
    let headers =
        format!("{}X-Tenant: t\r\nX-Other: o\r\nAuthorization: Basic x\r\n", session("all"));
    let found = get(&server, &["room-1", "news", "room-%26%3D%C3%A9"], &headers).await;
    assert_eq!(found, Answer::Opened);
    let (method, uri, headers) = backend.seen.lock().expect("no panic")[0].clone();
    assert_eq!(method, Method::GET);
    assert_eq!(uri, "/auth/?site=x&channel=room-1&channel=room-%26%3D%C3%A9");
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header("cookie"), Some("session=all"));
    assert_eq!(header("x-tenant"), Some("t"));
    assert_eq!((header("x-other"), header("authorization")), (None, None));
}

#[tokio::test]
async fn an_answer_is_remembered_for_those_who_ask_the_same() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let _running = serve(&backend, &port).await;
    let (server, _folder) = with(&port, "cache = \"1h\"\ncache-size = 2").await;
    let asked = || backend.asked.load(Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(get(&server, &["room-1"], &session("one")).await, Answer::Opened);
        assert_eq!(get(&server, &["room-1"], "").await, no_credentials());
    }
    assert_eq!(asked(), 2);
    assert_eq!(get(&server, &["room-2"], &session("one")).await, refused("room-2"));
    assert_eq!(asked(), 3, "another question");
    assert_eq!(get(&server, &["room-1"], &session("one")).await, Answer::Opened);
    assert_eq!(asked(), 4, "only two are remembered");
    let (forgetful, _folder) = with(&port, "cache = \"0s\"").await;
    let before = asked();
    for _ in 0..3 {
        assert_eq!(get(&forgetful, &["room-1"], &session("one")).await, Answer::Opened);
    }
    assert!(asked() >= before + 3);
}

#[tokio::test]
async fn whoever_cannot_be_asked_about_is_not_let_in() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let running = serve(&backend, &port).await;
    let (server, _folder) = with(&port, "timeout = \"2s\"\ncache = \"0s\"").await;
    let unavailable = Answer::Status(503, String::new());
    for status in [1, 2, 3, 404, 500, 503] {
        backend.status.store(status, Ordering::SeqCst);
        assert_eq!(get(&server, &["room-1"], &session("all")).await, unavailable, "{status}");
        assert_eq!(get(&server, &["news"], &session("all")).await, Answer::Opened);
    }
    backend.status.store(0, Ordering::SeqCst);
    assert_eq!(get(&server, &["room-1"], &session("all")).await, Answer::Opened);
    drop(running);
    until_refused(&port).await;
    assert_eq!(get(&server, &["room-1"], &session("all")).await, unavailable);
    let _running = serve(&backend, &port).await;
    let back =
        async { while get(&server, &["room-1"], &session("all")).await != Answer::Opened {} };
    within("the backend to be asked again", back).await;
}

async fn until_refused(port: &Port) {
    let address = port.to_string();
    let refused = async {
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("the backend to end", refused).await;
}

#[tokio::test]
async fn a_stream_survives_a_short_outage_of_the_backend_and_not_a_long_one() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let running = serve(&backend, &port).await;
    let (patient, _folder) = with(&port, "recheck = \"50ms\"\npatience = \"1h\"").await;
    let (strict, _other) =
        with(&port, "recheck = \"50ms\"\npatience = \"300ms\"\ncache = \"0s\"").await;
    let path = "/events/?channel=room-1";
    let mut lasting = patient.get(path, &session("one")).await;
    lasting.opening().await;
    let mut ending = strict.get(path, &session("one")).await;
    ending.opening().await;
    let mut public = strict.get("/events/?channel=news", &session("one")).await;
    public.opening().await;
    drop(running);
    until_refused(&port).await;
    let seen = ending.body().await;
    assert_eq!(seen, "id: room-1:0\n\n:it could not be checked for too long who may read this\n\n");
    // A reader who comes back is told to try again, and gets in when the backend is there.
    let again = get(&strict, &["room-1"], &session("one")).await;
    assert_eq!(again, Answer::Status(503, String::new()));
    patient.fill("room-1", 1).await;
    lasting.until("data: 1\n\n").await;
    strict.fill("news", 1).await;
    public.until("data: 1\n\n").await;
}

#[tokio::test]
async fn what_the_backend_takes_back_ends_a_stream_when_told_and_when_not() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let _running = serve(&backend, &port).await;
    // Remembered for longer than the test lasts: only a change makes it forget.
    let (told, _folder) = with(&port, "cache = \"1h\"\nrecheck = \"1h\"").await;
    let (looking, _other) = with(&port, "cache = \"10ms\"\nrecheck = \"50ms\"").await;
    let path = "/events/?channel=room-1";
    let mut of_told = told.get(path, &session("one")).await;
    of_told.opening().await;
    let mut bystander = told.get(path, &session("all")).await;
    bystander.opening().await;
    let mut of_looking = looking.get(path, &session("one")).await;
    of_looking.opening().await;
    backend.is_revoked.store(true, Ordering::SeqCst);
    let mut changed = change(&told, "u1", "room-1").await;
    assert_eq!(changed.body().await, r#"{"closed":1,"instances":0}"#);
    told.fill("room-1", 1).await;
    for stream in [&mut of_told, &mut of_looking] {
        let seen = stream.body().await;
        assert!(
            seen.ends_with(
                "Permission denied to channels: room-1\", \"channels\": [\"room-1\"]}\n\n"
            )
        );
        assert_eq!(seen.matches("stream-error").count(), 1);
    }
    bystander.until("data: 1\n\n").await;
    assert_eq!(get(&told, &["room-1"], &session("one")).await, refused("room-1"));
}

#[tokio::test]
async fn a_redirect_to_the_page_where_people_log_in_is_a_no() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let _running = serve(&backend, &port).await;
    let (server, _folder) = with(&port, "cache = \"0s\"").await;
    for status in [301, 302, 303, 307] {
        backend.status.store(status, Ordering::SeqCst);
        assert_eq!(get(&server, &["room-1"], &session("all")).await, no_credentials(), "{status}");
    }
    assert_eq!(backend.asked.load(Ordering::SeqCst), 2 * 4, "and no redirect is followed");
}

#[tokio::test]
async fn the_log_says_why_the_backend_is_not_reached() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let refused = Port::reserve();
    let _running = serve(&backend, &port).await;
    for (url, reason) in [
        (format!("http://{refused}/?password=s3cret"), "onnection refused"),
        (format!("https://{port}/?password=s3cret"), "InvalidContentType"),
        ("http://nowhere.invalid/?password=s3cret".to_owned(), "dns error"),
    ] {
        let (server, _folder) = access::configured(&format!(
            "[[access.rules]]\nchannel = \"room-*\"\nallow = \"backend\"\n\
             [access.forward-auth]\nurl = \"{url}\"\n"
        ))
        .await;
        assert_eq!(get(&server, &["room-1"], "").await, Answer::Status(503, String::new()));
        server.until_logged(reason).await;
        assert!(!server.log().contains("s3cret"), "{}", server.log());
    }
}

#[tokio::test]
async fn the_backend_gets_one_header_for_all_cookies_however_they_came() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let _running = serve(&backend, &port).await;
    let (server, _folder) = with(&port, "cache = \"0s\"").await;
    let seen = || backend.seen.lock().expect("no panic").last().expect("asked").2.clone();
    let two = format!("Cookie: csrftoken=x\r\n{}", session("all"));
    get(&server, &["room-1"], &two).await;
    assert_eq!(seen()[header::COOKIE], "csrftoken=x; session=all");
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    for count in [1, 2, 70] {
        let cookies: Vec<String> = (0..count).map(|n| format!("c{n}=v{n}")).collect();
        let mut request = client.get(server.url("/events/?channel=room-1"));
        for cookie in &cookies {
            request = request.header(header::COOKIE, cookie);
        }
        let answer = within("an answer", request.send()).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{count} cookies are one header");
        let seen = seen();
        let all: Vec<_> = seen.get_all(header::COOKIE).iter().collect();
        assert_eq!(all, [&cookies.join("; ")]);
    }
}

#[tokio::test]
async fn tokens_and_the_backend_go_together() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let _running = serve(&backend, &port).await;
    let jwt = format!("[access.jwt]\nsecret = {SECRET:?}");
    let (server, _folder) = with(&port, &jwt).await;
    let of_u9 = bearer(&token(json!({"sub": "u9"})));
    assert_eq!(get(&server, &["user-u9"], &of_u9).await, Answer::Opened);
    let both = format!("{of_u9}{}", session("one"));
    // The token names the user; the backend decides about its channels.
    assert_eq!(get(&server, &["user-u9", "room-1"], &both).await, Answer::Opened);
    assert_eq!(get(&server, &["user-u1", "room-1"], &both).await, refused("user-u1"));
    assert_eq!(get(&server, &["room-1"], &of_u9).await, refused("room-1"));
}

/// One stream was closed.
const DONE: &str = r#"{"closed":1,"instances":0}"#;

/// So many who are not known.
async fn come(server: &Server, count: usize) -> Vec<tokio::net::TcpStream> {
    let mut all = Vec::new();
    for n in 0..count {
        let mut socket = server::connect(server.address).await;
        let request = format!(
            "GET /events/?channel=room-1 HTTP/1.1\r\nHost: x\r\nCookie: stranger={n}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.expect("it reads");
        all.push(socket);
    }
    all
}

/// Two hundred who are not known, and whose questions are not answered.
async fn strangers(server: &Server, backend: &Backend) -> Vec<tokio::net::TcpStream> {
    let all = come(server, 200).await;
    let is_busy = async || backend.strangers.load(Ordering::SeqCst) >= 32;
    server::until("strangers to have all places", is_busy).await;
    all
}

#[tokio::test]
async fn strangers_whom_the_backend_does_not_answer_hold_up_nobody_who_is_in() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let _running = serve(&backend, &port).await;
    let slow = "timeout = \"1h\"\ncache = \"0s\"\nrecheck = \"50ms\"\npatience = \"100ms\"";
    let (server, _folder) = with(&port, slow).await;
    server.fill("room-1", 2000).await;
    let mut reader = server.get("/events/?channel=room-1", &session("all")).await;
    reader.opening().await;
    let mut revoked = server.get("/events/?channel=room-1", &session("one")).await;
    revoked.opening().await;
    let mut replaying =
        server.get("/events/?channel=room-1&lastEventId=room-1:0", &session("all")).await;
    let _strangers = strangers(&server, &backend).await;
    // Rechecks go on, and so does a replay, which is checked before each page.
    let before = backend.asked.load(Ordering::SeqCst);
    let is_asked = async || backend.asked.load(Ordering::SeqCst) >= before + 50;
    server::until("rechecks", is_asked).await;
    replaying.until("data: 2000\n\n").await;
    backend.is_revoked.store(true, Ordering::SeqCst);
    let mut changed = change(&server, "u1", "room-1").await;
    let (status, done) = (changed.status, changed.body().await);
    // A recheck may have ended the stream before.
    assert!(status == 200 && [DONE, r#"{"closed":0,"instances":0}"#].contains(&&*done), "{done}");
    assert!(revoked.body().await.contains("Permission denied to channels: room-1"));
    server.fill("room-1", 1).await;
    reader.until("id: room-1:2001\n").await;
    assert!(!reader.is_ended());
}

#[tokio::test]
async fn a_newcomer_from_elsewhere_is_not_behind_the_strangers_of_one_address() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let _running = serve(&backend, &port).await;
    let more = "timeout = \"1s\"\ncache = \"0s\"";
    let (server, _folder) = with_flags(&port, more, &["--trusted-proxies", "127.0.0.1"]).await;
    // More each time one gives up: at no time is a place free for long.
    let _strangers = strangers(&server, &backend).await;
    let elsewhere = format!("{}X-Forwarded-For: 192.0.2.7\r\n", session("all"));
    assert_eq!(get(&server, &["room-1"], &elsewhere).await, Answer::Opened);
    let asked = backend.strangers.load(Ordering::SeqCst);
    assert!(asked < 200, "it came after all {asked} strangers");
}

/// A backend of forty answers a second, of which two thousand strangers want one each.
#[tokio::test]
async fn a_busy_backend_loses_nobody_who_is_in_and_takes_permission_back_meanwhile() {
    let backend = Arc::new(Backend::default());
    let port = Port::reserve();
    let _running = serve(&backend, &port).await;
    let (server, _folder) = with(&port, "cache = \"0s\"\nrecheck = \"2s\"").await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut reader = server.get("/events/?channel=room-1", &session("all")).await;
        reader.opening().await;
        readers.push(reader);
    }
    let mut revoked = server.get("/events/?channel=room-1", &session("one")).await;
    revoked.opening().await;
    backend.pace.store(25, Ordering::SeqCst);
    let strangers = come(&server, 2000).await;
    let before = backend.asked.load(Ordering::SeqCst);
    let is_busy = async || backend.asked.load(Ordering::SeqCst) > before + 100;
    server::until("the backend to be busy", is_busy).await;
    backend.is_revoked.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let mut changed = change(&server, "u1", "room-1").await;
    let (status, done) = (changed.status, changed.body().await);
    println!("permission was taken back in {:?}", begun.elapsed());
    assert!(status == 200 && [DONE, r#"{"closed":0,"instances":0}"#].contains(&&*done), "{done}");
    assert!(revoked.body().await.contains("Permission denied to channels: room-1"));
    let is_later = async || backend.asked.load(Ordering::SeqCst) > before + 400;
    server::until("rechecks", is_later).await;
    drop(strangers);
    server.fill("room-1", 1).await;
    for mut reader in readers {
        reader.until("id: room-1:1\n").await;
        assert!(!reader.is_ended());
    }
}

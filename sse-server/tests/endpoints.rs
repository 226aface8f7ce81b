//! Streams where the file of settings puts them, with the channels that the place says.

use std::sync::Arc;

use access::{Answer, SECRET, answer, bearer, configured, no_credentials, refused, token};
use serde_json::json;
use server::{Server, TOKEN, binary, send, within};
use sse_server::http::{self, Endpoint, Endpoints, HttpConfig};
use sse_server::hub::Hub;
use sse_server::storage::MemoryStorage;
use testkit::{access, server};
use tokio::net::TcpListener;

const ENDPOINTS: &str = r#"
[[endpoint]]
path = "/feed/"
channels = ["news", "status", "news"]

[[endpoint]]
path = "/rooms/{room}/events/"
format-channels = ["room-{room}", "lobby"]

[[endpoint]]
path = "/of/{channel}/"

[[endpoint]]
path = "/tenants/{tenant}/"

[[endpoint]]
path = "/files/{*path}"
format-channels = "file:{path}"

[[endpoint]]
path = "/bare"
channels = "news"
"#;

/// The id with which a stream of these opens tells its channels, sorted.
async fn channels(server: &Server, path: &str) -> Vec<String> {
    let mut stream = server.get(path, "").await;
    assert_eq!(stream.status, 200, "{path}");
    stream.opening().await;
    let block = stream.until("\n\n").await;
    let id = block.strip_prefix("id: ").expect("a position").trim_end();
    let mut names: Vec<_> = id.split(',').map(|entry| entry.replace(":0", "")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_endpoint_has_the_channels_that_it_says_wherever_they_come_from() {
    let (server, _folder) = configured(ENDPOINTS).await;
    for (path, expected) in [
        ("/feed/", &["news", "status"][..]),
        ("/rooms/7/events/", &["lobby", "room-7"]),
        ("/rooms/a%2Fb%20%C3%A9/events/", &["lobby", "room-a/b%20%C3%A9"]),
        ("/rooms/lobby/events/?channel=x", &["lobby", "room-lobby"]),
        ("/of/a%2Cb/", &["a%2Cb"]),
        ("/tenants/t/?channel=a&channel=b", &["a", "b"]),
        ("/files/a/b.txt", &["file%3Aa/b.txt"]),
        ("/bare", &["news"]),
        ("/events/?channel=c", &["c"]),
        ("/events/feed/", &["feed"]),
    ] {
        assert_eq!(channels(&server, path).await, expected, "{path}");
    }
    let mut rooms = server.get("/rooms/7/events/", "").await;
    rooms.until("id: ").await;
    server.publish(r#"{"channel":"room-8","data":8}"#).await;
    server.publish(r#"{"channel":"room-7","data":7}"#).await;
    let seen = rooms.until("data: 7\n\n").await;
    assert!(!seen.contains("data: 8"), "{seen}");
}

#[tokio::test]
async fn format_channels_beat_channels_which_beat_the_path_which_beats_the_query() {
    let (server, _folder) = configured(
        "[[endpoint]]\npath = \"/all/{channel}/\"\nformat-channels = \"formatted-{channel}\"\n\
         channels = \"fixed\"\n\
         [[endpoint]]\npath = \"/fixed/{channel}/\"\nchannels = \"fixed\"\n\
         [[endpoint]]\npath = \"/path/{channel}/\"\n\
         [[endpoint]]\npath = \"/query/\"\n",
    )
    .await;
    for (path, expected) in
        [("/all/p/", "formatted-p"), ("/fixed/p/", "fixed"), ("/path/p/", "p"), ("/query/", "q")]
    {
        let found = channels(&server, &format!("{path}?channel=q")).await;
        assert_eq!(found, [expected], "{path}");
    }
}

#[tokio::test]
async fn an_endpoint_answers_as_the_others_do() {
    let (server, _folder) = configured(ENDPOINTS).await;
    let redirect = server.get("/feed?x=1", "").await;
    assert_eq!((redirect.status, redirect.header("location")), (308, Some("./feed/?x=1")));
    assert_eq!(server.get("/bare/", "").await.status, 404);
    let wrong = server.send(b"PUT /feed/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD")));
    let mut none = server.get("/tenants/t/", "").await;
    assert!(none.body().await.contains("No channels specified."));
    let long = format!("/rooms/{}/events/", "x".repeat(251));
    assert!(server.get(&long, "").await.body().await.contains("longer than 255 characters"));
    for path in ["/rooms/%ff/events/", "/events/%ff/"] {
        let mut answer = server.get(path, "").await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(
            answer.body().await.starts_with(r#"{"error":"bad-request","message":"the path is"#)
        );
    }
    assert_eq!(server.get("/feed/", "Last-Event-ID: error\r\n").await.status, 400);
    let mut resumed = server.get("/feed/", "Last-Event-ID: news:0,status:0\r\n").await;
    resumed.opening().await;
    server.fill("news", 1).await;
    resumed.until("id: news:1,status:0\ndata: 1\n\n").await;
    let nowhere = server.get("/nowhere", "").await.body().await;
    assert!(
        nowhere.contains("/events/?channel=NAME, /events/NAME/, /feed/, /rooms/{room}/events/")
    );
}

#[tokio::test]
async fn rules_apply_to_the_channels_of_every_endpoint() {
    let rules = "[[access.rules]]\nchannel = [\"news\", \"lobby\"]\nallow = \"public\"\n\
                 [[access.rules]]\nchannel = \"room-{sub}\"\nallow = \"authenticated\"\n";
    let jwt = format!("[access.jwt]\nsecret = \"{SECRET}\"\n");
    let (server, _folder) = configured(&format!("{ENDPOINTS}{rules}{jwt}")).await;
    let u1 = bearer(&token(json!({"sub": "u1"})));
    for (path, headers, expected) in [
        ("/bare", "", Answer::Opened),
        ("/rooms/u1/events/", "", no_credentials()),
        ("/rooms/u1/events/", &*u1, Answer::Opened),
        ("/rooms/u2/events/", &u1, refused("room-u2")),
        ("/feed/", &u1, refused("status")),
        ("/of/room-u2/", &u1, refused("room-u2")),
        ("/files/lobby?channel=lobby", &u1, refused("file:lobby")),
    ] {
        let found = answer(server.get(path, headers).await).await;
        assert_eq!(found, expected, "{path}");
    }
}

#[tokio::test]
async fn es_meta_beats_what_the_endpoint_says() {
    let (server, _folder) = configured(&format!(
        "{ENDPOINTS}[[access.rules]]\nchannel = \"*\"\nallow = \"token\"\n\
         [access.es-meta]\nsecret = \"{SECRET}\"\n"
    ))
    .await;
    let meta = token(json!({"iss": "es", "user": "u1", "channels": ["pinned"]}));
    let found = channels(&server, &format!("/feed/?channel=q&es-meta={meta}")).await;
    assert_eq!(found, ["pinned"]);
}

#[tokio::test]
async fn without_the_default_endpoints_events_can_be_something_else() {
    let (server, _folder) = configured(
        "default-endpoints = false\n[[endpoint]]\npath = \"/events/\"\nchannels = \"test\"\n",
    )
    .await;
    assert_eq!(channels(&server, "/events/?channel=other").await, ["test"]);
    assert_eq!(server.get("/events/other/", "").await.status, 404);
    assert_eq!(server.get("/", "").await.status, 404);
    let nowhere = server.get("/events/other/", "").await.body().await;
    assert!(nowhere.contains("streams are at /events/, publishing"), "{nowhere}");
    assert_eq!(server.post("[]", &bearer(TOKEN)).await.status, 200);
}

#[tokio::test]
async fn a_browser_gets_a_page_that_knows_the_path_and_the_channels() {
    let (server, _folder) = configured(ENDPOINTS).await;
    let mut page = server.get("/rooms/%22%3E%3Cb%3E/events/", "Accept: text/html\r\n").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let body = page.body().await;
    let meta = "<meta name=\"stream\" data-path=\"/rooms/%22%3E%3Cb%3E/events/\" \
                data-channels=\"[&quot;room-\\&quot;&gt;&lt;b&gt;&quot;,&quot;lobby&quot;]\"";
    let has_client = server.get("/page/client.js", "").await.status == 200;
    let client = if has_client { " data-client" } else { "" };
    assert!(body.contains(&format!("{meta}{client}>")), "{}", &body[..2000]);
}

#[tokio::test]
async fn below_another_applications_path_everything_is_found_too() {
    let rooms = Endpoint::new("/{room}/").expect("a path").format_channels(["r-{room}"]);
    let endpoints = Endpoints::default().with(rooms.expect("a name")).expect("it is free");
    let hub = Hub::new(Arc::new(MemoryStorage::new()));
    let router = http::router(hub.clone(), HttpConfig::new(TOKEN).endpoints(endpoints));
    let router = axum::Router::new().nest("/sse", router);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        http::serve(listener, router, &hub, std::future::pending()).await;
    });
    let get = async |path: &str, headers: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        send(address, request.as_bytes()).await
    };
    let mut page = get("/sse/7/", "Accept: text/html\r\n").await;
    let body = page.body().await;
    assert!(body.contains("data-path=\"/7/\" data-channels=\"[&quot;r-7&quot;]\""), "no path");
    let mut stream = get("/sse/7/", "").await;
    stream.opening().await;
    stream.until("id: r-7:0\n\n").await;
    for (path, target) in
        [("/sse/7?x=y", "./7/?x=y"), ("/sse/events/a", "./a/"), ("/sse/publish", "./publish/")]
    {
        assert_eq!(get(path, "").await.header("location"), Some(target));
    }
}

#[tokio::test]
async fn no_path_leads_to_another_server() {
    let (server, _folder) =
        configured("default-endpoints = false\n[[endpoint]]\npath = \"/{room}/\"\n").await;
    let answer = server.get("/\\evil.net", "").await;
    assert_eq!((answer.status, answer.header("location")), (308, Some("./%5Cevil.net/")));
    assert_eq!(server.get("//evil.net", "").await.status, 404);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_ends_the_start_with_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    for (toml, line) in [
        (
            "[[endpoint]]\npath = \"/events/{x}/\"\n",
            "error: endpoint[0].path: \"/events/{x}/\" is the server's own /events/{channel}/; choose \
             another path, or leave that one out (default-endpoints = false)\n",
        ),
        (
            "[[endpoint]]\npath = \"/r/{room}/\"\nformat-channels = \"room-{rom}\"\n",
            "error: endpoint[0].format-channels: \"room-{rom}\" has {rom}, which is no parameter of \
             the path; the path has room\n",
        ),
    ] {
        std::fs::write(&path, toml).expect("writable");
        let output = within("an end", binary().arg("--config").arg(&path).output()).await;
        assert_eq!(String::from_utf8_lossy(&output.expect("it starts").stderr), line);
    }
}

/// No address can be listened on, which is how far the check has to come.
#[tokio::test]
async fn the_examples_of_the_protocols_description_are_settings() {
    let text = include_str!("../../docs/protocol.md");
    let examples: Vec<_> = text.split("```toml\n").skip(1).collect();
    assert_eq!(examples.len(), 3);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    for example in examples {
        let (example, _) = example.split_once("```").expect("an end");
        std::fs::write(&path, example).expect("writable");
        let mut command = binary();
        command.args(["--listen", "192.0.2.1:9", "--storage", "memory", "--open-access"]);
        let output = within("an end", command.arg("--config").arg(&path).output()).await;
        let stderr = String::from_utf8_lossy(&output.expect("it starts").stderr).into_owned();
        assert!(stderr.contains("cannot listen on 192.0.2.1:9"), "{example}\n{stderr}");
    }
}

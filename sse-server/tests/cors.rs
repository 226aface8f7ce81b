//! Pages of other origins: which of them may read what, errors included.

use access::{SECRET, bearer, configured, token};
use serde_json::json;
use server::{Response, Server, TOKEN};
use testkit::{access, server};

const CORS: &str = "[cors]\norigins = [\"https://example.com\", \"https://*.example.org\"]\n";
const ALLOWED: &str = "Origin: https://example.com\r\n";
const OTHER: &str = "Origin: https://evil.net\r\n";

/// The headers that are for pages of other origins, each as `name: value`, sorted.
fn shared(response: &Response) -> Vec<String> {
    let head = response.head.to_ascii_lowercase();
    let lines = head.lines().filter(|line| line.starts_with("access-control-"));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

fn vary(response: &Response) -> Vec<String> {
    let head = response.head.to_ascii_lowercase();
    let lines = head.lines().filter_map(|line| line.strip_prefix("vary: "));
    lines.flat_map(|line| line.split(", ")).map(str::to_owned).collect()
}

async fn preflight(server: &Server, path: &str, headers: &str) -> Response {
    let asks =
        "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: last-event-id\r\n";
    let request = format!("OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\n{asks}{headers}\r\n");
    server.send(request.as_bytes()).await
}

#[tokio::test]
async fn an_allowed_origin_may_read_streams_and_no_other_may() {
    let (server, _folder) = configured(CORS).await;
    for path in ["/events/?channel=a", "/events/a/"] {
        for origin in ["https://example.com", "https://a.b.example.org"] {
            let mut stream = server.get(path, &format!("Origin: {origin}\r\n")).await;
            stream.opening().await;
            let expected = [
                format!("access-control-allow-origin: {origin}"),
                "access-control-expose-headers: retry-after, www-authenticate".to_owned(),
            ];
            assert_eq!(shared(&stream), expected);
            assert_eq!(vary(&stream), ["accept", "origin"]);
        }
        for headers in [
            "",
            OTHER,
            "Origin: null\r\n",
            "Origin: https://example.com.evil.net\r\n",
            "Origin: http://example.com\r\n",
            "Origin: https://example.org\r\n",
            "Origin: https://example.com\r\nOrigin: https://evil.net\r\n",
            "Referer: https://example.com/\r\n",
        ] {
            let mut stream = server.get(path, headers).await;
            stream.opening().await;
            assert_eq!(shared(&stream), [""; 0], "{headers}");
            assert_eq!(vary(&stream), ["accept", "origin"], "{headers}");
        }
    }
}

#[tokio::test]
async fn a_preflight_admits_the_headers_that_clients_send() {
    let more = "headers = [\"X-Tenant\", \"X-Trace\"]\nmax-age = \"10m\"\ncredentials = true\n";
    let (server, _folder) = configured(&format!("{CORS}{more}")).await;
    for path in ["/events/?channel=a", "/events/a/", "/events"] {
        let mut answer = preflight(&server, path, ALLOWED).await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(
            shared(&answer),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: last-event-id, authorization, cache-control, \
                 content-type, x-tenant, x-trace",
                "access-control-allow-methods: get, head",
                "access-control-allow-origin: https://example.com",
                "access-control-max-age: 600",
            ]
        );
        assert_eq!(vary(&answer), ["origin"]);
        assert_eq!(answer.header("content-type"), None);
        answer = preflight(&server, path, OTHER).await;
        assert_eq!(shared(&answer), [""; 0]);
        assert_eq!(vary(&answer), ["origin"]);
    }
    let plain = server.send(b"OPTIONS /events/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((plain.status, plain.header("allow")), (204, Some("GET, HEAD")));
    let stream = server.get("/events/?channel=a", ALLOWED).await;
    assert_eq!(stream.header("access-control-allow-credentials"), Some("true"));
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_can_read_errors_too() {
    let access = format!(
        "[request-limits]\nurl = 1000\n\
         [[access.rules]]\nchannel = \"room-*\"\nallow = \"backend\"\n\
         [[access.rules]]\nchannel = \"user-{{sub}}\"\nallow = \"authenticated\"\n\
         [access.jwt]\nsecret = \"{SECRET}\"\n\
         [access.forward-auth]\nurl = \"http://127.0.0.1:9/\"\n"
    );
    let (server, _folder) = configured(&format!("{CORS}{access}")).await;
    let u1 = bearer(&token(json!({"sub": "u1"})));
    let long = format!("/events/?channel={}", "x".repeat(1000));
    for (path, headers, status) in [
        ("/events/?channel=user-u1", "", 401),
        ("/events/?channel=user-u1", "Authorization: Bearer x\r\n", 401),
        ("/events/?channel=user-u2", &*u1, 200),
        ("/events/?channel=room-1", "", 503),
        ("/events/?channel=user-u1&lastEventId=error", &u1, 400),
        ("/events/%ff/", "", 400),
        ("/events/user-u1/", "Accept: image/png\r\n", 406),
        (&long, "", 414),
        ("/events", "", 308),
    ] {
        for (origin, is_allowed) in [(ALLOWED, true), (OTHER, false)] {
            let answer = server.get(path, &format!("{headers}{origin}")).await;
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(shared(&answer).len(), if is_allowed { 2 } else { 0 }, "{path} {origin}");
            assert!(vary(&answer).contains(&"origin".to_owned()), "{path}");
        }
    }
    let request = format!("PUT /events/ HTTP/1.1\r\nHost: localhost\r\n{ALLOWED}\r\n");
    let wrong = server.send(request.as_bytes()).await;
    assert_eq!((wrong.status, shared(&wrong).len()), (405, 2));
}

#[tokio::test]
async fn publishing_is_for_other_origins_only_if_the_settings_say_so() {
    for (setting, is_allowed) in [("", false), ("publish = true\n", true)] {
        let (server, _folder) = configured(&format!("{CORS}{setting}")).await;
        let asked = preflight(&server, "/publish/", ALLOWED).await;
        let methods = asked.header("access-control-allow-methods");
        assert_eq!(methods, is_allowed.then_some("POST"), "{}", asked.head);
        for auth in [bearer(TOKEN), String::new()] {
            let body = r#"{"channel":"a","data":1}"#;
            let answer = server.post(body, &format!("{auth}{ALLOWED}")).await;
            assert_eq!(shared(&answer).len(), if is_allowed { 2 } else { 0 });
            assert_eq!(shared(&server.post(body, &format!("{auth}{OTHER}")).await), [""; 0]);
        }
        let health = server.get("/health/live", ALLOWED).await;
        assert_eq!(shared(&health), [""; 0], "what is not for pages says nothing");
    }
}

#[tokio::test]
async fn every_origin_may_read_if_there_is_a_star_and_never_with_credentials() {
    let (server, _folder) = configured("[cors]\norigins = \"*\"\n").await;
    for headers in ["", OTHER, "Origin: null\r\n"] {
        let mut stream = server.get("/events/?channel=a", headers).await;
        stream.opening().await;
        assert_eq!(stream.header("access-control-allow-origin"), Some("*"));
        assert_eq!(stream.header("access-control-allow-credentials"), None);
        assert_eq!(vary(&stream), ["accept"], "the answer is the same for all");
    }
    let asked = preflight(&server, "/events/", OTHER).await;
    assert_eq!(asked.header("access-control-allow-origin"), Some("*"));
    let headers = asked.header("access-control-allow-headers").expect("a list");
    assert!(headers.contains("Authorization"), "a star would not stand for it");
}

#[tokio::test]
async fn without_the_setting_no_other_origin_may_read() {
    let server = Server::start(&[]).await;
    let mut stream = server.get("/events/?channel=a", ALLOWED).await;
    stream.opening().await;
    assert_eq!(shared(&stream), [""; 0]);
    assert_eq!(vary(&stream), ["accept"]);
    let asked = preflight(&server, "/events/", ALLOWED).await;
    assert_eq!((asked.status, shared(&asked)), (204, vec![]));
}

//! What is not possible is refused with a status, a word and a sentence, and costs nobody else
//! anything.

use serde_json::Value;
use server::{Server, TOKEN};
use testkit::server;

#[tokio::test]
async fn a_malformed_last_event_id_costs_its_sender_an_error_and_nobody_else_anything() {
    let server = Server::start(&[]).await;
    let mut bystander = server.get("/events/?channel=test", "").await;
    bystander.opening().await;
    server.fill("test", 1).await;

    let long_garbage = vec![b'x'; 30 << 10];
    let long_cursor = b"test:1,".repeat((30 << 10) / 7);
    let ids: [&[u8]; 13] = [
        b"garbage",
        b"a:b:c",
        b"test:abc",
        b"test:1.5",
        b"test:",
        b"test:1,",
        b",",
        b":",
        b"%ff:1",
        b"test:0x10",
        b"\xff\xfe\xe9",
        &long_garbage,
        &long_cursor,
    ];
    for id in ids {
        let request = [
            b"GET /events/?channel=test HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: ",
            id,
            b"\r\n\r\n",
        ];
        let mut answer = server.send(&request.concat()).await;
        let shown = String::from_utf8_lossy(&id[..id.len().min(20)]);
        assert_eq!(answer.status, 200, "{shown}");
        let body = answer.body().await;
        assert!(body.starts_with("event: stream-error\nid: error\n"), "{shown}: {body}");
        assert!(body.contains("Failed to parse Last-Event-ID or lastEventId."), "{shown}: {body}");
    }
    for id in [&b"a\x01b"[..], b"test:1\x00", b"test:1\x7f"] {
        let request = [
            b"GET /events/?channel=test HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: ",
            id,
            b"\r\n\r\n",
        ];
        assert_eq!(server.send(&request.concat()).await.status, 400, "{id:?} is no header value");
    }
    let query = format!("/events/?channel=test&lastEventId={}", "y".repeat(70 << 10));
    assert!(matches!(server.get(&query, "").await.status, 414 | 431));

    server.publish(r#"{"channel":"test","data":2}"#).await;
    let seen = bystander.until("data: 2\n\n").await;
    assert!(seen.contains("data: 1\n\n") && !seen.contains("stream-error"), "{seen}");
}

/// What a publish request is answered with: the status, the word, and the sentence.
async fn refused(server: &Server, body: &str) -> (u16, String, String) {
    let (status, answer) = server.try_publish(body).await;
    let text = |key: &str| answer[key].as_str().expect("a string").to_owned();
    (status, text("error"), text("message"))
}

#[tokio::test]
async fn a_bad_publish_request_is_told_which_field_is_wrong_and_what_to_do() {
    let server = Server::start(&["--max-event-size", "1000"]).await;
    let long = format!(r#"{{"channel":"{}","data":1}}"#, "é".repeat(256));
    for (body, message) in [
        ("", "EOF while parsing a value"),
        ("x", "expected value at line 1 column 1"),
        (r#"{"channel":"a","data":{}"#, "EOF while parsing an object"),
        (r#"{"data":1}"#, "missing field `channel`"),
        (r#"{"channel":"","data":1}"#, "`channel` is empty; name the channel to publish to"),
        (r#"{"channel":7,"data":1}"#, "invalid type: integer `7`, expected a string"),
        (&*long, "`channel` is longer than 255 characters"),
        (r#"{"channel":"a"}"#, "there is neither `data` (any JSON) nor `text`"),
        (r#"{"channel":"a","data":1,"text":"b"}"#, "there are both `data` and `text`"),
        (r#"{"channel":"a","data":1,"typ":"b"}"#, "unknown field `typ`"),
        (
            r#"{"channel":"a","data":1,"event":"a\nb"}"#,
            "`event` cannot be sent: event type contains LF",
        ),
        (r#"{"channel":"a","data":1,"event":"stream-reset"}"#, "only the server itself may send"),
        (r#"[{"channel":"a","data":1},{"channel":"a"}]"#, "event 2: there is neither"),
    ] {
        let (status, word, found) = refused(&server, body).await;
        assert_eq!((status, &*word), (400, "bad-request"), "{body}: {found}");
        assert!(found.contains(message), "{body}: {found}");
    }
    let large = serde_json::json!({"channel": "a", "text": "x".repeat(994)}).to_string();
    let (status, word, message) = refused(&server, &large).await;
    assert_eq!((status, &*word), (413, "too-large"));
    assert_eq!(message, "the event has 1001 bytes; the limit is 1000");
    let fits = serde_json::json!({"channel": "a", "text": "x".repeat(993)}).to_string();
    assert_eq!(server.publish(&fits).await["id"], "a:1", "nothing before this was published");
    for body in ["Content-Length: 16777217\r\n\r\n", &chunked(16 << 20)] {
        let head = format!(
            "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        );
        let mut answer = server.send(format!("{head}{body}").as_bytes()).await;
        assert_eq!(answer.status, 413);
        assert!(
            answer.body().await.contains("a request may have 16777216 bytes; send fewer events")
        );
    }
}

/// A body of one byte more than this, without a length that would tell so beforehand.
fn chunked(len: usize) -> String {
    let spaces = " ".repeat(len);
    format!("Transfer-Encoding: chunked\r\n\r\n{len:x}\r\n{spaces}\r\n1\r\n \r\n0\r\n\r\n")
}

#[tokio::test]
async fn who_may_not_publish_is_told_so_before_sending_the_body() {
    let server = Server::start(&[]).await;
    let head = "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    assert_eq!(server.send(head.as_bytes()).await.status, 401);
}

#[tokio::test]
async fn publishing_needs_the_token() {
    let server = Server::start(&[]).await;
    let body = r#"{"channel":"a","data":1}"#;
    for header in [
        String::new(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        "Authorization: Bearer wrong\r\n".to_owned(),
        format!("Authorization: Bearer {TOKEN}x\r\n"),
        format!("Authorization: Basic {TOKEN}\r\n"),
        "Authorization: Bearer \u{e9}\r\n".to_owned(),
    ] {
        let mut answer = server.post(body, &header).await;
        assert_eq!(answer.status, 401, "{header}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let answer: Value = serde_json::from_str(&answer.body().await).expect("JSON");
        assert_eq!(answer["error"], "unauthorized");
        assert!(
            answer["message"].as_str().is_some_and(|text| text.to_lowercase().contains("token"))
        );
    }
    let lower_case = server.post(body, &format!("authorization: bearer {TOKEN}\r\n")).await;
    assert_eq!(lower_case.status, 200);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_say_where_to_go() {
    let server = Server::start(&[]).await;
    let mut answer = server.get("/nope", "").await;
    assert_eq!(answer.status, 404);
    assert!(answer.body().await.contains("POST /publish/"));
    for (method, path, allow) in [
        ("POST", "/events/", "GET, HEAD"),
        ("DELETE", "/events/a/", "GET, HEAD"),
        ("GET", "/publish/", "POST"),
        ("PUT", "/health/live", "GET, HEAD"),
    ] {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        let mut answer = server.send(request.as_bytes()).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allow));
        let message = format!("{method} is not possible here; use {allow}");
        assert!(answer.body().await.contains(&message));
    }
    let options =
        server.send(b"OPTIONS /events/?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD")));
}

#[tokio::test]
async fn health_answers() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/health/live", "").await.body().await, r#"{"status":"ok"}"#);
    let ready = server.get("/health/ready", "").await.body().await;
    assert_eq!(ready, r#"{"channels":0,"status":"ok"}"#);
}

#[tokio::test]
async fn a_body_that_would_have_to_be_decoded_is_refused_and_a_byte_order_mark_is_not() {
    let server = Server::start(&[]).await;
    let event = r#"{"channel":"a","data":1}"#;
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    for coding in ["gzip", "br", "identity, Zstd"] {
        for kind in ["application/json", "application/x-ndjson"] {
            let headers = format!("{token}Content-Encoding: {coding}\r\nContent-Type: {kind}\r\n");
            let mut answer = server.post(event, &headers).await;
            assert_eq!((answer.status, answer.header("accept-encoding")), (415, Some("identity")));
            assert!(answer.body().await.contains("Content-Encoding"), "{coding}");
        }
    }
    let headers = format!("{token}Content-Encoding: identity\r\n");
    assert_eq!(server.post(event, &headers).await.status, 200);
    // As PowerShell and .NET write it.
    for body in
        [format!("\u{feff}{event}"), format!("\u{feff}[{event}]"), format!("\u{feff}  {event}")]
    {
        assert_eq!(server.try_publish(&body).await.0, 200, "{body}");
    }
    let headers = format!("{token}Content-Type: application/x-ndjson\r\n");
    let answer = server.post(&format!("\u{feff}{event}\n{event}\n"), &headers).await.body().await;
    assert!(!answer.contains("error") && answer.contains("a:6"), "{answer}");
    let (status, _) = server.try_publish(&format!("{event}\u{feff}")).await;
    assert_eq!(status, 400, "elsewhere it is no mark");
}

#[tokio::test]
async fn a_channel_without_a_name_and_a_name_that_is_no_text_are_refused() {
    let server = Server::start(&[]).await;
    for query in ["channel=", "channel=a&channel=", "channel"] {
        let body = server.get(&format!("/events/?{query}"), "").await.body().await;
        assert!(body.contains("Invalid request: A channel name is empty."), "{query}: {body}");
    }
    for path in
        ["/events/?channel=caf%E9", "/events/?channel=a&messages_types=%FF", "/events/caf%E8/"]
    {
        let mut answer = server.get(path, "").await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.body().await.contains("is not UTF-8"), "{path}");
    }
    server.get("/events/?channel=caf%C3%A9", "").await.opening().await;
}

#[tokio::test]
async fn an_id_of_another_server_is_a_position_at_which_events_are_missing() {
    let server = Server::start(&[]).await;
    server.fill("test", 3).await;
    for id in [
        "1700000000-0",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "undefined",
        "null",
        "42",
        "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "MTIzNDU2Nzg5MA==",
    ] {
        for (query, header) in [
            (String::new(), format!("Last-Event-ID: {id}\r\n")),
            (format!("&lastEventId={}", id.replace('=', "%3D")), String::new()),
        ] {
            let path = format!("/events/?channel=test&channel=other{query}");
            let mut stream = server.get(&path, &header).await;
            let seen = stream.until("\n\n").await;
            let seen = seen + &stream.until("stream-reset\nid: test:3,other:0\n").await;
            assert!(!seen.contains("stream-error"), "{id}: {seen}");
            stream.until("\"channels\": [\"test\", \"other\"]").await;
        }
    }
    // It goes on from there.
    let mut stream = server.get("/events/?channel=test", "Last-Event-ID: undefined\r\n").await;
    stream.until("stream-reset").await;
    server.publish(r#"{"channel":"test","data":4}"#).await;
    stream.until("id: test:4\ndata: 4\n\n").await;
}

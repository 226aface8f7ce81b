//! The bytes of the protocol, against a real server process.

use server::Server;
use testkit::server;

const SECOND_EVENT: &str = "event: message\nid: test:2\ndata: 2\n\n";

#[tokio::test]
async fn a_stream_opens_as_django_eventstreams_does() {
    let server = Server::start(&[]).await;
    let mut stream = server.get("/events/?channel=test", "").await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.header("transfer-encoding"), Some("chunked"));
    stream.opening().await;
}

#[tokio::test]
async fn events_have_the_fields_in_order_and_json_in_pythons_form() {
    let server = Server::start(&[]).await;
    let mut stream = server.get("/events/?channel=test", "").await;
    stream.opening().await;
    assert_eq!(stream.until("\n\n").await, "id: test:0\n\n");
    let id =
        server.publish(r#"{"channel":"test","data":{"text":"hello world","é":[1,2.50]}}"#).await;
    assert_eq!(id, serde_json::json!({"id": "test:1"}));
    server
        .publish(r#"{"channel":"test","event":"greeting","text":"line1\nline2\r\nline3\rline4"}"#)
        .await;
    server.publish(r#"{"channel":"test","text":""}"#).await;
    assert_eq!(
        stream.until("id: test:3\ndata: \n\n").await,
        "event: message\nid: test:1\ndata: {\"text\": \"hello world\", \"\\u00e9\": [1, 2.50]}\n\n\
         event: greeting\nid: test:2\ndata: line1\ndata: line2\ndata: line3\ndata: line4\n\n\
         event: message\nid: test:3\ndata: \n\n"
    );
}

#[tokio::test]
async fn a_new_stream_is_told_where_it_starts_and_a_resumed_one_is_not() {
    let server = Server::start(&[]).await;
    server.fill("test", 1).await;
    let mut fresh = server.get("/events/?channel=test&channel=b", "").await;
    fresh.opening().await;
    assert_eq!(fresh.until("\n\n").await, "id: test:1,b:0\n\n");
    let mut resumed = server.get("/events/?channel=test", "Last-Event-ID: test:1\r\n").await;
    resumed.opening().await;
    server.publish(r#"{"channel":"test","data":2}"#).await;
    assert_eq!(resumed.until("\n\n").await, SECOND_EVENT);
}

#[tokio::test]
async fn the_last_non_empty_query_id_resumes_and_the_header_beats_it() {
    let server = Server::start(&[]).await;
    server.fill("test", 3).await;
    let first = async |query: &str, headers: &str| {
        let mut stream = server.get(&format!("/events/?channel=test{query}"), headers).await;
        stream.opening().await;
        stream.until("\n\n").await
    };
    let third = "event: message\nid: test:3\ndata: 3\n\n";
    assert_eq!(
        first("&lastEventId=test:0&lastEventId=test:1&lastEventId=", "").await,
        SECOND_EVENT
    );
    assert_eq!(first("&lastEventId=test:0", "Last-Event-ID: test:2\r\n").await, third);
    assert_eq!(first("&lastEventId=test:2", "Last-Event-ID: \r\n").await, third);
    assert_eq!(first("&lastEventId=te%2573t%3A%2B2", "").await, third);
    assert_eq!(first("&lastEventId=other:5,test:1,test:2", "").await, third);
}

#[tokio::test]
async fn a_position_that_does_not_exist_is_reset_and_delivery_goes_on() {
    let server = Server::start(&[]).await;
    server.fill("test", 3).await;
    server.fill("test2", 1).await;
    for position in ["77", "-1", "99999999999999999999999"] {
        let id = format!("Last-Event-ID: test:{position},test2:0\r\n");
        let mut stream = server.get("/events/?channel=test2&channel=test", &id).await;
        stream.opening().await;
        assert_eq!(
            stream.until("data: 1\n\n").await,
            "event: stream-reset\nid: test2:0,test:3\ndata: {\"channels\": [\"test\"]}\n\n\
             event: message\nid: test2:1,test:3\ndata: 1\n\n"
        );
    }
}

#[tokio::test]
async fn a_long_history_comes_whole_in_order_and_once_with_one_opening() {
    let server = Server::start(&[]).await;
    server.fill("big", 250).await;
    server.fill("small", 3).await;
    let mut stream =
        server.get("/events/?channel=big&channel=small&lastEventId=big:0,small:0", "").await;
    stream.opening().await;
    let mut history = stream.until("data: 250\n\n").await;
    if !history.contains("small:3") {
        history += &stream.until("small:3\ndata: 3\n\n").await;
    }
    assert_eq!(history.matches("stream-open").count(), 0);
    let ids = |channel: &str| -> Vec<u64> {
        let ids = history.lines().filter_map(|line| line.strip_prefix("id: "));
        let of_channel =
            |id: &str| id.split(',').find_map(|entry| entry.strip_prefix(channel)?.parse().ok());
        let mut ids: Vec<u64> = ids.filter_map(of_channel).collect();
        assert!(ids.is_sorted(), "{channel} went backwards: {ids:?}");
        ids.dedup();
        ids
    };
    assert_eq!(ids("big:"), (0..=250).skip_while(|&n| n == 0).collect::<Vec<_>>());
    assert_eq!(ids("small:").last(), Some(&3));
    assert_eq!(history.matches("event: message").count(), 253, "each event once");
}

#[tokio::test]
async fn a_channel_name_of_any_kind_is_percent_encoded_in_ids() {
    let server = Server::start(&[]).await;
    let name = "a b/c,d:é%~";
    let mut by_query = server.get("/events/?channel=a+b%2Fc%2Cd%3A%C3%A9%25~", "").await;
    let mut by_path = server.get("/events/a%20b%2Fc,d:%C3%A9%25~/?channel=ignored", "").await;
    by_query.opening().await;
    by_path.opening().await;
    let id = server.publish(&serde_json::json!({"channel": name, "data": 1}).to_string()).await;
    assert_eq!(id["id"], "a%20b/c%2Cd%3A%C3%A9%25~:1");
    let event = "event: message\nid: a%20b/c%2Cd%3A%C3%A9%25~:1\ndata: 1\n\n";
    by_query.until(event).await;
    by_path.until(event).await;
}

#[tokio::test]
async fn errors_of_a_stream_are_events_with_status_200() {
    let server = Server::start(&[]).await;
    let many = (1..=11).map(|n| format!("channel={n}")).collect::<Vec<_>>().join("&");
    let long = format!("?channel={}", "x".repeat(256));
    for (query, text) in [
        ("", "No channels specified."),
        ("?link=next", "No channels specified."),
        (&*format!("?{many}"), "Channel limit exceeded."),
        (&*long, "A channel name is longer than 255 characters."),
        ("?channel=a&lastEventId=garbage", "Failed to parse Last-Event-ID or lastEventId."),
        ("?channel=a&lastEventId=a:b:c", "Failed to parse Last-Event-ID or lastEventId."),
        ("?channel=a&lastEventId=a:1,", "Failed to parse Last-Event-ID or lastEventId."),
    ] {
        let mut answer = server.get(&format!("/events/{query}"), "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(
            answer.body().await,
            format!(
                "event: stream-error\nid: error\n\
                 data: {{\"condition\": \"bad-request\", \"text\": \"Invalid request: {text}\"}}\n\n"
            )
        );
    }
    let ten_and_twice = many.replace("11", "1");
    server.get(&format!("/events/?{ten_and_twice}"), "").await.opening().await;
}

#[tokio::test]
async fn coming_back_after_a_stream_error_is_refused_with_400() {
    let server = Server::start(&[]).await;
    for (query, header) in [("", "Last-Event-ID: error\r\n"), ("&lastEventId=error", "")] {
        let mut answer = server.get(&format!("/events/?channel=a{query}"), header).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-cache, no-transform"));
        let text = "Invalid request: Can't resume session after stream-error.\n";
        assert_eq!(answer.body().await, text);
    }
}

#[tokio::test]
async fn silence_is_broken_by_keep_alives() {
    let server = Server::start(&["--keep-alive", "100ms"]).await;
    let mut stream = server.get("/events/?channel=test", "").await;
    stream.opening().await;
    stream.until("id: test:0\n\n").await;
    let two = stream.until("data:\n\nevent: keep-alive\ndata:\n\n").await;
    assert_eq!(two, "event: keep-alive\ndata:\n\nevent: keep-alive\ndata:\n\n");
}

#[tokio::test]
async fn head_gets_the_head_and_http_1_0_a_body_without_chunks() {
    let server = Server::start(&[]).await;
    let head = server.send(b"HEAD /events/?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    let mut old = server.send(b"GET /events/?channel=a HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.header("transfer-encoding"), None);
    old.opening().await;
    server.publish(r#"{"channel":"a","data":1}"#).await;
    old.until("event: message\nid: a:1\ndata: 1\n\n").await;
}

#[tokio::test]
async fn a_browser_gets_the_page_and_everything_else_the_stream() {
    let server = Server::start(&[]).await;
    let accept = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";
    for path in ["/events/?channel=test", "/events/test/", "/events/"] {
        let mut page = server.get(path, accept).await;
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.header("vary"), Some("Accept"));
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(page.body().await.starts_with("<!DOCTYPE html>"));
    }
    for accept in ["", "Accept: */*\r\n", "Accept: text/event-stream\r\n"] {
        server.get("/events/test/", accept).await.opening().await;
    }
}

#[tokio::test]
async fn weights_count_and_who_accepts_neither_stream_nor_page_gets_406() {
    let server = Server::start(&[]).await;
    let wanted =
        async |accept: &str| server.get("/events/test/", &format!("Accept: {accept}\r\n")).await;
    for accept in ["text/html;q=0.5, text/event-stream", "text/html;q=0, */*;q=0.1", "text/*"] {
        wanted(accept).await.opening().await;
    }
    for accept in ["text/event-stream;q=0.5, text/html", "text/event-stream;q=0, */*"] {
        let page = wanted(accept).await;
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{accept}");
    }
    for accept in ["application/json", "text/event-stream;q=0", "*/*;q=0", "image/*, text/plain"] {
        let mut answer = wanted(accept).await;
        assert_eq!((answer.status, answer.header("vary")), (406, Some("Accept")), "{accept}");
        let body = answer.body().await;
        assert!(body.starts_with(r#"{"error":"not-acceptable","message":"what is here is text/e"#));
    }
}

#[tokio::test]
async fn a_batch_is_published_whole_and_answered_in_order() {
    let server = Server::start(&[]).await;
    let array =
        r#"[{"channel":"a","data":1},{"channel":"b","data":null},{"channel":"a","text":"x"}]"#;
    let ids = serde_json::json!([{"id": "a:1"}, {"id": "b:1"}, {"id": "a:2"}]);
    assert_eq!(server.publish(array).await, ids);
    assert_eq!(server.publish("[]").await, serde_json::json!([]));

    let (status, _) = server.try_publish(r#"[{"channel":"a","data":4},{"channel":"a"}]"#).await;
    assert_eq!(status, 400);
    assert_eq!(server.publish(r#"{"channel":"a","data":5}"#).await["id"], "a:3", "none of it was");
}

#[tokio::test]
async fn the_slash_at_the_end_can_be_left_out() {
    let server = Server::start(&[]).await;
    for (path, target) in [
        ("/events?channel=a&x=%20", "./events/?channel=a&x=%20"),
        ("/events/a%20b", "./a%20b/"),
        ("/events/a:b", "./a:b/"),
        ("/publish", "./publish/"),
        ("/", "./events/"),
    ] {
        let answer = server.get(path, "").await;
        assert!(matches!(answer.status, 307 | 308), "{path}: {}", answer.status);
        assert_eq!(answer.header("location"), Some(target));
        // Behind a proxy that leaves out the first part of the path it leads to the right place
        // too.
        let base = url::Url::parse("https://example.com/sse").expect("a URL");
        let asked = format!("https://example.com/sse{path}");
        let led = url::Url::parse(&asked).expect("a URL").join(target).expect("a reference");
        assert!(led.as_str().starts_with(&format!("{base}/")), "{led}");
    }
}

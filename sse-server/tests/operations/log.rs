//! What is logged, and what never is.

use serde_json::{Value, json};

use super::metrics::configured;
use crate::server::{Server, TOKEN};

#[tokio::test]
async fn each_line_of_the_log_is_an_object_if_that_is_wanted() {
    let flags = ["--log-format", "json", "--log", "info,sse_server=debug"];
    let server = Server::start(&flags).await;
    server.get("/events/?channel=a", "").await.opening().await;
    server.until_logged("stream opened").await;
    for line in server.log().lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        for key in ["timestamp", "level", "message", "target"] {
            assert!(line[key].is_string(), "{line}");
        }
    }
}

#[tokio::test]
async fn no_token_is_ever_logged() {
    let settings = "[[access.rules]]\nchannel = \"*\"\nallow = \"authenticated\"\n\
                    [access.jwt]\nsecret = \"at least thirty-two random bytes, or more\"\n\
                    query = \"access_token\"\n\
                    [[publish-tokens]]\ntoken = \"publish-s3cret\"\nchannel = \"*\"\n";
    let (server, _folder) = configured(settings, &["--log", "trace"]).await;
    // As a parameter, as a header, as a cookie; good or bad; to paths that there are and that there are not.
    let header = "Authorization: Bearer header-s3cret\r\nCookie: session=cookie-s3cret\r\n";
    for path in [
        "/events/?channel=a&access_token=query-s3cret",
        "/events/a/?access%5Ftoken=query-s3cret",
        "/events/?channel=a&es-meta=query-s3cret",
        "/events?access_token=query-s3cret",
        "/nothing?access_token=query-s3cret",
        "/channels/?access_token=query-s3cret",
    ] {
        server.get(path, "").await;
        server.get(path, header).await;
    }
    let event = json!({"channel": "a", "data": 1}).to_string();
    for token in ["publish-s3cret", "wrong-s3cret", TOKEN] {
        server.post(&event, &format!("Authorization: Bearer {token}\r\n")).await;
    }
    server.until_logged("credentials were refused").await;
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains("s3cret") || line.contains(TOKEN));
    assert_eq!(lines.collect::<Vec<_>>(), Vec::<&str>::new());
}

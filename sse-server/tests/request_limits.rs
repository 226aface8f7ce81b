//! Requests that are too large are refused by the name of the limit, and those that just fit are
//! not.

use access::configured;
use serde_json::Value;
use server::{Response, Server, TOKEN};
use testkit::{access, server};

/// The word and the sentence of a refusal.
async fn said(mut answer: Response) -> (String, String) {
    let body: Value = serde_json::from_str(&answer.body().await).expect("JSON");
    let text = |key: &str| body[key].as_str().expect("a text").to_owned();
    (text("error"), text("message"))
}

async fn assert_refused(answer: Response, status: u16, word: &str, message: &str) {
    assert_eq!(answer.status, status, "{message}");
    let (error, found) = said(answer).await;
    assert_eq!(error, word);
    assert!(found.starts_with(message), "{found}");
}

#[tokio::test]
async fn a_long_url_is_refused_with_414_and_the_limit() {
    let server = Server::start(&[]).await;
    let path = "/events/?channel=test&x=";
    let fits = format!("{path}{}", "y".repeat((16 << 10) - path.len()));
    server.get(&fits, "").await.opening().await;
    let answer = server.get(&format!("{fits}y"), "").await;
    let message = "the URL has 16385 bytes; the limit is 16384 (request-limits.url); ";
    assert_refused(answer, 414, "url-too-long", message).await;
    let answer = server.get(&format!("/nowhere{fits}"), "").await;
    assert_eq!(answer.status, 414, "everywhere");
}

#[tokio::test]
async fn large_headers_are_refused_with_431_and_the_limit() {
    let server = Server::start(&[]).await;
    // `host` and `localhost`, `cookie`.
    let cookie = |len: usize| format!("Cookie: {}\r\n", "y".repeat(len));
    server.get("/events/test/", &cookie((32 << 10) - 19)).await.opening().await;
    let answer = server.get("/events/test/", &cookie((32 << 10) - 18)).await;
    let message = "the headers have 32769 bytes; the limit is 32768 (request-limits.header-size); ";
    assert_refused(answer, 431, "headers-too-large", message).await;
    let headers = format!("Authorization: Bearer {TOKEN}\r\n{}", cookie(33_000));
    assert_eq!(server.post("[]", &headers).await.status, 431, "everywhere");
}

#[tokio::test]
async fn many_headers_are_refused_with_431_and_the_limit() {
    let server = Server::start(&[]).await;
    server.get("/events/test/", &"X-A: b\r\n".repeat(63)).await.opening().await;
    let answer = server.get("/events/test/", &"X-A: b\r\n".repeat(64)).await;
    let message = "there are 65 headers; the limit is 64 (request-limits.headers)";
    assert_refused(answer, 431, "headers-too-large", message).await;
    let answer = server.get("/events/test/", &"X-A: b\r\n".repeat(1000)).await;
    assert_eq!(answer.status, 431, "by the code that reads them");
}

#[tokio::test]
async fn the_limits_can_be_set() {
    let (server, _folder) = configured(
        "[request-limits]\nurl = 65000\nheader-size = 65000\nheaders = 100\nchannels = 12\n\
         [[endpoint]]\npath = \"/twelve/\"\nchannels = [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \
         \"8\", \"9\", \"10\", \"11\", \"12\"]\n",
    )
    .await;
    let channels: Vec<_> = (1..=13).map(|n| format!("channel={n}")).collect();
    let long = format!("/events/?{}&x=", channels[..12].join("&"));
    let long = format!("{long}{}", "y".repeat(65_000 - long.len()));
    let cookie = format!("Cookie: {}\r\n{}", "y".repeat(64_000), "X-A: b\r\n".repeat(98));
    server.get(&long, &cookie).await.opening().await;
    server.get("/twelve/", "").await.opening().await;
    let many = format!("/events/?{}", channels.join("&"));
    let body = server.get(&many, "").await.body().await;
    assert!(body.contains("Invalid request: Channel limit exceeded."), "{body}");
    assert_eq!(server.get(&format!("{long}y"), "").await.status, 414);
}

//! SIGHUP: the settings are read again.

use std::path::Path;

use serde_json::json;

use super::metrics::configured;
use crate::server::{Server, TOKEN, until};

pub(crate) const OPEN: &str = "[[publish-tokens]]\ntoken = \"old\"\nchannel = \"*\"\n\
                    [[access.rules]]\nchannel = \"*\"\nallow = \"public\"\n";

pub(crate) const CLOSED: &str = "[[publish-tokens]]\ntoken = \"new\"\nchannel = \"*\"\n\
                      [[access.rules]]\nchannel = \"news\"\nallow = \"public\"\n";

pub(crate) async fn reload(server: &Server, folder: &Path, toml: &str, outcome: &str) {
    std::fs::write(folder.join("settings.toml"), toml).expect("writable");
    let before = server.log().matches(outcome).count();
    server.signal("-HUP");
    until(outcome, async || server.log().matches(outcome).count() > before).await;
}

async fn status(server: &Server, token: &str) -> u16 {
    let body = json!({"channel": "news", "data": 1}).to_string();
    server.post(&body, &format!("Authorization: Bearer {token}\r\n")).await.status
}

#[tokio::test]
async fn new_rules_and_tokens_are_in_force_after_a_hangup() {
    let (server, folder) = configured(OPEN, &[]).await;
    let mut news = server.get("/events/?channel=news", "").await;
    news.opening().await;
    let mut secret = server.get("/events/?channel=secret", "").await;
    secret.opening().await;
    assert_eq!((status(&server, "old").await, status(&server, "new").await), (200, 401));
    reload(&server, folder.path(), CLOSED, "were read again").await;
    let end = secret.until("\"channels\": [\"secret\"]}\n\n").await;
    assert!(end.contains("event: stream-error\nid: error\n"), "{end}");
    assert_eq!(secret.body().await, "");
    let mut refused = server.get("/events/?channel=secret", "").await;
    refused.until("Permission denied to channels: secret").await;
    assert_eq!((status(&server, "old").await, status(&server, "new").await), (401, 200));
    assert_eq!(status(&server, TOKEN).await, 200, "that of the flag stays");
    news.until("id: news:3\n").await;
    // And back, without any rules at all, if that is meant.
    reload(&server, folder.path(), "open-access = true\n", "were read again").await;
    server.get("/events/?channel=secret", "").await.opening().await;
}

#[tokio::test]
async fn rules_can_be_added_where_there_were_none() {
    let (server, folder) = configured("", &[]).await;
    let mut secret = server.get("/events/?channel=secret", "").await;
    secret.opening().await;
    reload(&server, folder.path(), CLOSED, "were read again").await;
    secret.until("Permission denied to channels: secret").await;
}

#[tokio::test]
async fn what_was_closed_is_not_opened_by_a_file_that_leaves_the_rules_out() {
    let flags = ["--open-access"];
    let (server, folder) = configured(CLOSED, &flags).await;
    for (toml, problem) in [
        ("", "there are no settings in it"),
        ("# access.rules were here\n", "there are no settings in it"),
        ("log = \"info\"\n", "there were rules for who may read"),
        ("open-access = false\n", "there were rules for who may read"),
        ("[[publish-tokens]]\ntoken = \"old\"\nchannel = \"*\"\n", "there were rules"),
    ] {
        reload(&server, folder.path(), toml, problem).await;
        let mut refused = server.get("/events/?channel=secret", "").await;
        refused.until("Permission denied to channels: secret").await;
        assert_eq!((status(&server, "old").await, status(&server, "new").await), (401, 200));
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_change_nothing_and_the_log_says_why() {
    let (server, folder) = configured(CLOSED, &[]).await;
    let mut news = server.get("/events/?channel=news", "").await;
    news.opening().await;
    let bad_rule = format!("{OPEN}[[access.rules]]\nchannel = \"a\"\nallow = \"everybody\"\n");
    for (toml, problem) in [
        ("nonsense", "settings.toml"),
        (&*format!("keep-alife = \"1s\"\n{OPEN}"), "unknown field `keep-alife`"),
        (&*bad_rule, "access.rules[1].allow"),
        (
            &*format!("{OPEN}[access.jwt]\nsecret-file = \"/nonexistent\"\n"),
            "access.jwt.secret-file",
        ),
    ] {
        reload(&server, folder.path(), toml, problem).await;
        assert!(server.log().contains("not taken over; all stays as it was"));
        assert_eq!((status(&server, "old").await, status(&server, "new").await), (401, 200));
        let mut refused = server.get("/events/?channel=secret", "").await;
        refused.until("Permission denied to channels: secret").await;
    }
    news.until("id: news:4\n").await;
    assert!(!news.is_ended());
}

#[tokio::test]
async fn readers_come_back_when_new_rules_ask_the_backend_about_them() {
    let rule = |allow: &str| format!("[[access.rules]]\nchannel = \"*\"\nallow = \"{allow}\"\n");
    let port = crate::port::Port::reserve();
    let backend = format!("[access.forward-auth]\nurl = \"http://{port}/\"\n");
    let (server, folder) = configured(&rule("public"), &[]).await;
    let mut reader = server.get("/events/?channel=a", "").await;
    reader.opening().await;
    let toml = format!("{}{backend}", rule("backend"));
    reload(&server, folder.path(), &toml, "were read again").await;
    // Nothing is known against them: they are asked to come again, and then the backend decides.
    let end = reader.body().await;
    assert!(
        end.ends_with(":the rules for who may read this have changed; connect again\n\n"),
        "{end}"
    );
    assert!(!end.contains("stream-error"), "{end}");
    assert_eq!(server.get("/events/?channel=a", "").await.status, 503);
}

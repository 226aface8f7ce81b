//! The live page, in a real browser, against a real server process.

use std::env;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::time::Duration;

use browser::{Browser, Entry};
use serde_json::{Value, json};
use server::{Server, TOKEN};
use testkit::{browser, server};

/// What appears in the list for an event of the channel `test`.
fn entry(kind: &str, data: &str, number: u64) -> Entry {
    Entry { kind: kind.to_owned(), data: data.to_owned(), id: format!("test:{number}") }
}

async fn publish_numbers(server: &Server, channel: &str, numbers: RangeInclusive<u64>) {
    let events = numbers.map(|n| json!({"channel": channel, "data": n})).collect::<Vec<_>>();
    server.publish(&Value::from(events).to_string()).await;
}

/// Makes a page read by the browser's `EventSource`, whatever else the server has.
const BY_BROWSER: &str = "#EventSource";

/// Whether the page reads by sse-client-wasm. It does in each build of `cargo xtask test`.
async fn has_client(server: &Server) -> bool {
    let has_client = server.get("/page/client.js", "").await.status == 200;
    let is_built = env::var_os("SSE_WASM_PACKAGE").is_some_and(|path| !path.is_empty());
    assert!(has_client || !is_built, "the server was built without SSE_SERVER_PAGE_CLIENT");
    if !has_client {
        // Past the test harness, which keeps what tests print to itself.
        let _ = writeln!(io::stderr(), "left out: the page with the npm package");
    }
    has_client
}

/// Takes its events from a server that does not run.
fn empty(server: &Server) {
    let database = server.database();
    let folder = database.parent().expect("a folder of its own");
    for file in std::fs::read_dir(folder).expect("readable") {
        std::fs::remove_file(file.expect("readable").path()).expect("a file that nobody uses");
    }
}

#[tokio::test]
async fn by_event_source_an_event_appears_with_its_type_id_and_data() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start(&[]).await;
    let page = format!("/events/?channel=test&messages_types=message,greeting{BY_BROWSER}");
    browser.open(&server.url(&page)).await;
    browser.until_shown("#reader", "EventSource").await;
    browser.until_shown("#reader-note", "events of the type message, and of types that").await;
    appears(&browser, &server).await;
}

#[tokio::test]
async fn with_the_client_an_event_of_any_type_appears() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start(&[]).await;
    if !has_client(&server).await {
        return;
    }
    browser.open(&server.url("/events/?channel=test")).await;
    browser.until_shown("#reader", "sse-client-wasm").await;
    appears(&browser, &server).await;
    browser.click("#other-reader").await;
    browser.until_shown("#reader", "EventSource").await;
}

async fn appears(browser: &Browser, server: &Server) {
    browser.until_shown("#state", "Open").await;
    browser.until_shown("#empty", "No events yet").await;
    server.publish(r#"{"channel":"test","event":"greeting","text":"hello\n  world"}"#).await;
    server.publish(r#"{"channel":"test","data":{"text":"é"}}"#).await;
    assert_eq!(
        browser.entries(2).await,
        [entry("greeting", "hello\n  world", 1), entry("message", r#"{"text": "é"}"#, 2)]
    );
    browser.until_shown("#n-events", "2").await;
    browser.until_shown("#last-id", "test:2").await;
}

#[tokio::test]
async fn the_page_of_an_endpoint_shows_its_channels() {
    let Some(browser) = Browser::start().await else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    let endpoint = "[[endpoint]]\npath = \"/rooms/{room}/\"\nformat-channels = \"room <{room}>\"\n";
    std::fs::write(&path, endpoint).expect("writable");
    let server = Server::start(&["--config", &path.display().to_string()]).await;
    browser.open(&server.url("/rooms/a%22b/")).await;
    browser.until_shown("#state", "Open").await;
    browser.until_shown("#channels", "room <a\"b>").await;
    browser.fill("#p-data", "hello").await;
    browser.fill("#p-token", TOKEN).await;
    browser.click("#p-send").await;
    let entries = browser.entries(1).await;
    assert_eq!((&*entries[0].data, &*entries[0].id), ("hello", "room%20%3Ca%22b%3E:1"));
}

#[tokio::test]
async fn the_form_publishes_and_shows_the_id() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start(&[]).await;
    browser.open(&server.url("/events/test/")).await;
    browser.until_shown("#state", "Open").await;
    browser.fill("#p-event", "greeting").await;
    browser.fill("#p-data", "hello").await;
    browser.fill("#p-token", TOKEN).await;
    browser.click("#p-send").await;
    browser.until_shown("#result", "Published as test:1.").await;
    assert_eq!(browser.entries(1).await, [entry("greeting", "hello", 1)]);
}

#[tokio::test]
async fn a_wrong_token_shows_the_servers_message_and_focuses_the_token() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start(&[]).await;
    browser.open(&server.url("/events/test/")).await;
    browser.fill("#p-data", "hello").await;
    browser.fill("#p-token", "wrong").await;
    browser.click("#p-send").await;
    let mut refusal = server.post("[]", "Authorization: Bearer wrong\r\n").await;
    let refusal: Value = serde_json::from_str(&refusal.body().await).expect("JSON");
    let message = refusal["message"].as_str().expect("a message");
    browser.until_shown("#result", message).await;
    assert_eq!(browser.run("return document.activeElement.id").await, "p-token");
}

#[tokio::test]
async fn after_kill_9_the_page_comes_back_and_shows_every_event_once() {
    comes_back(BY_BROWSER, ("#reason", "the browser tries again by itself")).await;
}

#[tokio::test]
async fn with_the_client_it_comes_back_after_kill_9_too() {
    comes_back("", ("#countdown", "next try in")).await;
}

async fn comes_back(reader: &str, (place, waiting): (&str, &str)) {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::start(&[]).await;
    if reader.is_empty() && !has_client(&server).await {
        return;
    }
    browser.open(&server.url(&format!("/events/?channel=test{reader}"))).await;
    browser.until_shown("#state", "Open").await;
    publish_numbers(&server, "test", 1..=3).await;
    browser.entries(3).await;
    // Of these the page gets as many as it can before the end.
    publish_numbers(&server, "test", 4..=300).await;
    server.kill().await;
    browser.until_shown("#state", "Waiting").await;
    browser.until_shown(place, waiting).await;
    server.restart().await;
    publish_numbers(&server, "test", 301..=350).await;
    browser.until_shown("#state", "Open").await;
    publish_numbers(&server, "test", 351..=360).await;
    let expected = (1..=360).map(|n| entry("message", &n.to_string(), n)).collect::<Vec<_>>();
    assert_eq!(browser.entries(360).await, expected);
    browser.until_shown("#reason", "resumed after test:").await;
    browser.until_shown("#n-resets", "0").await;
}

#[tokio::test]
async fn with_the_client_two_tabs_share_a_connection_and_lose_nothing_when_it_is_cut() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start(&[]).await;
    if !has_client(&server).await {
        return;
    }
    browser.open(&server.url("/events/?channel=test")).await;
    browser.until_shown("#reader", "sse-client-wasm").await;
    browser.click("#share").await;
    browser.until_shown("#holder", "held by this tab").await;
    // A window of its own: the first one would be hidden, and draw nothing.
    browser.run("window.tab = open(location.href, '', 'popup')").await;
    let other = |css: &str| {
        format!(
            "return tab.document?.querySelector('{css}')?.textContent?.replace(/\\s+/g, ' ') ?? ''"
        )
    };
    browser.until_told(&other("#holder"), "held by another tab").await;
    publish_numbers(&server, "test", 1..=1).await;
    browser.entries(1).await;
    browser.until_told(&other("#last-id"), "test:1").await;
    browser.click("#cut").await;
    publish_numbers(&server, "test", 2..=2).await;
    browser.until_shown("#n-reconnects", "1").await;
    browser.until_shown("#reason", "resumed after test:1").await;
    publish_numbers(&server, "test", 3..=3).await;
    let expected = (1..=3).map(|n| entry("message", &n.to_string(), n)).collect::<Vec<_>>();
    assert_eq!(browser.entries(3).await, expected);
    browser.until_told(&other("#last-id"), "test:3").await;
    browser.until_told(&other("#n-events"), "3").await;
    // Who leads goes: the other one goes on, and with what it has seen.
    browser.click("#connect").await;
    browser.until_told(&other("#holder"), "held by this tab").await;
    publish_numbers(&server, "test", 4..=4).await;
    browser.until_told(&other("#n-events"), "4").await;
    browser.until_told(&other("#n-resets"), "0").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_stream_reset_stands_out_and_names_the_channel() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::start(&[]).await;
    browser.open(&server.url("/events/?channel=quiet&channel=test")).await;
    browser.until_shown("#state", "Open").await;
    publish_numbers(&server, "test", 1..=3).await;
    browser.entries(3).await;
    server.kill().await;
    empty(&server);
    server.restart().await;
    browser.until_shown("#events .reset", "History is gone for test.").await;
    browser.until_shown("#n-resets", "1").await;
    publish_numbers(&server, "test", 1..=1).await;
    let kinds: Vec<_> = browser.entries(5).await.into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, ["message", "message", "message", "stream-reset", "message"]);
    let looks = browser
        .run(
            "return [...document.querySelectorAll('#events li')].slice(0, 2)
                .map(item => getComputedStyle(item).boxShadow)",
        )
        .await;
    assert_ne!(looks[0], looks[1]);
}

#[tokio::test]
async fn after_a_stream_error_the_page_says_why_and_stops_trying() {
    // More than any wait between two attempts: a browser's own is not hurried.
    stops_trying(BY_BROWSER, Duration::from_secs(50)).await;
}

#[tokio::test]
async fn with_the_client_it_says_why_and_stops_too() {
    // As above.
    stops_trying("", Duration::from_secs(15)).await;
}

async fn stops_trying(reader: &str, time: Duration) {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start(&[]).await;
    if reader.is_empty() && !has_client(&server).await {
        return;
    }
    browser.hurry(10).await;
    let many = (1..=11).map(|n| format!("channel={n}")).collect::<Vec<_>>().join("&");
    for (query, why) in [
        (&*many, "Channel limit exceeded."),
        ("channel=a&lastEventId=garbage", "Failed to parse Last-Event-ID or lastEventId."),
    ] {
        browser.open(&server.url(&format!("/events/?{query}{reader}"))).await;
        browser.until_shown("#state", "Closed").await;
        browser.until_shown("#reason", why).await;
        browser.until_shown("#events .error", why).await;
        browser.let_pass(time).await;
        let asked = "return performance.getEntriesByType('resource')
            .filter(({name}) => name.includes('/events/')).length";
        assert_eq!(browser.run(asked).await, 1);
        browser.until_shown("#state", "Closed").await;
    }
}

#[tokio::test]
async fn markup_is_shown_as_text() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start(&[]).await;
    let markup = "<img src=x onerror='ran = 1'><script>ran = 1</script><b>&amp;</b>";
    let query = form_urlencoded::byte_serialize(markup.as_bytes()).collect::<String>();
    let page = format!("/events/?channel={query}&messages_types=message,{query}");
    browser.open(&server.url(&page)).await;
    browser.until_shown("#channels", markup).await;
    browser.until_shown("#state", "Open").await;
    let elements = "return document.body.querySelectorAll('img, b, #events script').length";
    for event in [
        json!({"channel": markup, "event": markup, "text": markup}),
        json!({"channel": markup, "data": [markup]}),
    ] {
        server.publish(&event.to_string()).await;
    }
    let entries = browser.entries(2).await;
    assert_eq!((&*entries[0].kind, &*entries[0].data), (markup, markup));
    assert_eq!(entries[1].data, json!([markup]).to_string());
    assert_eq!(browser.run(elements).await, 0);
    assert_eq!(browser.run("return typeof ran").await, "undefined");
}

#[tokio::test]
async fn a_phone_needs_no_horizontal_scrolling() {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::start(&[]).await;
    browser.shrink(360).await;
    let long = "x".repeat(200);
    let page = format!("/events/?channel=test&channel={long}&messages_types=message,{long}");
    browser.open(&server.url(&page)).await;
    browser.until_shown("#state", "Open").await;
    for event in [
        json!({"channel": long, "event": long, "text": long.repeat(3)}),
        json!({"channel": "test", "data": {"deep": [{"key": [long, long]}]}}),
    ] {
        server.publish(&event.to_string()).await;
    }
    browser.entries(2).await;
    browser.click("#publish-panel summary").await;
    browser.click("#command-panel summary").await;
    browser.fill("#p-data", &long).await;
    browser.until_shown("#c-publish", &long).await;
    let fits = "const {scrollWidth, clientWidth} = document.scrollingElement;
        return [innerWidth, scrollWidth - clientWidth]";
    assert_eq!(browser.run(fits).await, json!([360, 0]));
    server.kill().await;
    browser.until_shown("#state", "Waiting").await;
    assert_eq!(browser.run(fits).await, json!([360, 0]));
}

#[tokio::test]
async fn normal_use_leaves_no_complaint_in_the_console() {
    let Some(browser) = Browser::start().await else { return };
    let server = Server::start(&["--keep-alive", "100ms"]).await;
    browser.open(&server.url("/events/")).await;
    browser.fill("#choose-name", "test").await;
    browser.click("#choose-form button").await;
    browser.until_shown("#state", "Open").await;
    browser.fill("#p-data", r#"{"n": 1}"#).await;
    browser.click("[name=as][value=json]").await;
    browser.fill("#p-token", TOKEN).await;
    browser.click("#p-show").await;
    browser.click("#p-send").await;
    browser.until_shown("#result", "Published as test:1.").await;
    browser.click("#pause").await;
    browser.click("#p-send").await;
    browser.until_shown("#pause", "Resume (1)").await;
    browser.click("#pause").await;
    browser.entries(2).await;
    browser.click("[data-copy=c-publish]").await;
    browser.click("#connect").await;
    browser.until_shown("#state", "Closed").await;
    browser.click("#connect").await;
    browser.until_shown("#reason", "resumed after test:2").await;
    browser.click("#clear").await;
    browser.until_shown("#empty", "No events yet").await;
    assert_eq!(browser.complaints().await, [""; 0]);
    // It would have been seen.
    browser.run("console.error('a complaint')").await;
    assert_eq!(browser.complaints().await.len(), 1);
}

//! A page, and a server that is killed again and again under it: the browser's client loses nothing
//! and tells nothing twice. The two libraries that it replaces are shown beside it.
//!
//! While the server is away, the page is answered with 503, as by any proxy whose server is away.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use browser::Browser;
use serde_json::json;
use server::{Server, within};
use testkit::{browser, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

const KILLS: u64 = 20;

/// A folder that `cargo xtask test` names, or `None` with a word about it.
fn folder(variable: &str) -> Option<PathBuf> {
    let folder = env::var_os(variable).filter(|path| !path.is_empty());
    if folder.is_none() {
        // Past the test harness, which keeps what tests print to itself.
        let text = "left out, it needs the npm package; `cargo xtask test` builds it";
        let _ = writeln!(io::stderr(), "{}: {text}", std::thread::current().name().unwrap_or(""));
    }
    folder.map(PathBuf::from)
}

/// Kills the server under a page in which `connect` has begun to fill `seen` with the data of all
/// events, and returns what has been seen at the end. The data are the numbers from 1 on.
async fn seen_across_kills(
    browser: &Browser,
    scripts: &[String],
    connect: &str,
) -> (Vec<u64>, u64) {
    let mut server = Server::start(&[]).await;
    // A page of the server's origin without a policy of its own.
    browser.open(&server.url("/health/live")).await;
    for script in scripts {
        let add = "const script = document.createElement('script'); script.textContent = ";
        browser.run(&format!("{add}{}; document.body.append(script)", json!(script))).await;
    }
    browser.run(&format!("window.seen = []; {connect}")).await;
    let seen = || async {
        let seen = browser.run("return window.seen").await;
        let seen = seen.as_array().expect("a list").iter();
        seen.map(|data| data.as_str().and_then(|data| data.parse().ok()).expect("a number"))
            .collect::<Vec<u64>>()
    };
    let mut sent = 0;
    let mut publish = async |server: &Server| {
        sent += 1;
        server.publish(&json!({"channel": "test", "data": sent}).to_string()).await;
        sent
    };
    let is_open = async || browser.run("return source.readyState").await == 1;
    // It gets what comes after it.
    until("an open stream", browser, is_open).await;
    publish(&server).await;
    until("the first event", browser, async || !seen().await.is_empty()).await;
    for _ in 0..KILLS {
        publish(&server).await;
        publish(&server).await;
        server.kill().await;
        refuse_one(server.address).await;
        server.restart().await;
        publish(&server).await;
    }
    until("an open stream", browser, is_open).await;
    let last = publish(&server).await;
    until("the last event", browser, async || seen().await.contains(&last)).await;
    (seen().await, last)
}

/// Stands in for a server that is away: answers the page's next request with 503.
async fn refuse_one(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.expect("the port is free");
    let work = async {
        loop {
            let (mut socket, _) = listener.accept().await?;
            let mut request = [0; 4096];
            let len = socket.read(&mut request).await.unwrap_or(0);
            // Others on this machine ask new ports for `/`.
            if !request[..len].starts_with(b"GET /events/") {
                continue;
            }
            let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\
                           Connection: close\r\n\r\n";
            socket.write_all(answer).await?;
            return socket.shutdown().await;
        }
    };
    within("the page to ask again", work).await.expect("the page reads the answer");
}

/// Waits until a condition holds.
async fn until(what: &str, browser: &Browser, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !condition().await {
        if Instant::now() >= deadline {
            let page = "return JSON.stringify([source.readyState, source.status, source.lastEventId, seen])";
            panic!("the page does not come to {what}: {}", browser.run(page).await);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test]
async fn a_page_loses_nothing_and_sees_nothing_twice_when_the_server_is_killed_20_times() {
    let Some(package) = folder("SSE_WASM_PACKAGE") else { return };
    let Some(browser) = Browser::start().await else { return };
    let script = fs::read_to_string(package.join("reconnecting-eventsource.inline.js"));
    let connect = "
        window.source = new ReconnectingEventSource('/events/?channel=test', {max_retry_time: 100});
        source.onmessage = event => seen.push(event.data);";
    let (seen, last) = seen_across_kills(&browser, &[script.expect("built")], connect).await;
    assert_eq!(seen, (1..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_libraries_that_it_replaces_lose_events_on_the_same_page() {
    let Some(tools) = folder("SSE_WASM_TOOLS") else { return };
    let Some(browser) = Browser::start().await else { return };
    let modules = tools.join("node_modules");
    let read = |path: &str| fs::read_to_string(modules.join(path)).expect("installed");
    let scripts = [
        read("event-source-polyfill/src/eventsource.min.js"),
        read("reconnecting-eventsource/dist/ReconnectingEventSource.min.js"),
    ];
    let connect = "
        window.source = new ReconnectingEventSource('/events/?channel=test', {
            max_retry_time: 100,
            eventSourceClass: EventSourcePolyfill,
        });
        source.onmessage = event => seen.push(event.data);";
    let (seen, last) = seen_across_kills(&browser, &scripts, connect).await;
    let missing = (1..=last).filter(|number| !seen.contains(number)).count();
    println!("of {last} events, {missing} are lost");
    assert!(missing > 0, "they have lost nothing: {seen:?}");
}

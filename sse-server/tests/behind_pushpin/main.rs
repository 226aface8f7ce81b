//! Streams that a real Pushpin holds for this server.
//!
//! `cargo xtask test` installs Pushpin, and names it in `SSE_TEST_PUSHPIN`.

mod judged;
mod origin;
mod signed;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use origin::{Options, Origin};
use serde_json::json;
use sse_client::{Item, reqwest};
use testkit::access::Grants;
use testkit::wait::{DEADLINE, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What channels can be called.
const ODD: &str = "a b/c,d:é%~";
const ENCODED: &str = "a%20b/c%2Cd%3A%C3%A9%25~";

/// How often something is done that must never happen; `SSE_GRIP_ROUNDS` says otherwise.
fn rounds() -> usize {
    number("SSE_GRIP_ROUNDS", 50)
}

fn number(variable: &str, default: usize) -> usize {
    let number = std::env::var(variable).ok();
    number.map_or(default, |number| number.parse().expect("a number"))
}

fn granted(grants: &[(&str, &str)]) -> Options {
    let all = Grants::default();
    for (user, channel) in grants {
        all.grant(Some(user), channel);
    }
    Options { grants: Some(Arc::new(all)), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_stream_has_what_any_stream_has() {
    let Some(origin) = Origin::start(Options::default()).await else { return };
    let answer = reqwest::get(origin.pushpin.url("/events/?channel=a")).await.expect("a stream");
    assert!(!answer.headers().keys().any(|name| name.as_str().starts_with("grip-")));
    let page = reqwest::Client::new().get(origin.pushpin.url("/events/?channel=a"));
    let page = page.header("accept", "text/html").send().await.expect("a page");
    assert!(page.text().await.expect("a text").contains("id=\"held\""), "the page says so");
    let mut reader = origin.reader(&["a", ODD], None, "").await;
    origin.publish(ODD, "50% of \n %(x)s").await;
    assert_eq!(reader.next().await, (format!("a:0,{ENCODED}:1"), r#""50% of \n %(x)s""#.into()));
    origin.publish("a", 1).await;
    assert_eq!(reader.next().await, (format!("a:1,{ENCODED}:1"), "1".into()));
    // Without an id, in the order that is its own.
    origin.publish_with(json!({"channel": ODD, "data": "%"}), json!({"store": false})).await;
    assert_eq!(reader.next().await, (format!("a:1,{ENCODED}:1"), "\"%\"".into()));
    let large = "%".repeat(300_000);
    origin.publish_with(json!({"channel": "a", "text": large}), json!({"event": "large"})).await;
    let Item::Event(event) = reader.item().await else { panic!("an event") };
    assert_eq!((event.event_type(), event.data()), ("large", &*large));
    // And who comes back.
    let mut late = origin.reader(&["a", ODD], None, &format!("a:0,{ENCODED}:0")).await;
    let mut seen = HashSet::new();
    for _ in 0..3 {
        assert!(seen.insert(late.next().await));
    }
    assert!(seen.contains(&(format!("a:2,{ENCODED}:1"), large)) || seen.len() == 3);
    let mut strange = origin.reader(&["a"], None, "a:77").await;
    assert!(matches!(strange.item().await, Item::Reset { channels } if channels == ["a"]));
    origin.publish("a", "next").await;
    for reader in [&mut reader, &mut late, &mut strange] {
        let (id, data) = reader.next().await;
        assert!(id.contains("a:3") && data == "\"next\"", "{id} {data}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_comes_in_pages_and_then_goes_on() {
    let Some(origin) = Origin::start(Options::default()).await else { return };
    for channel in ["a", ODD] {
        for number in 0..700 {
            let event =
                sse_server::storage::NewEvent::new(channel, "message", format!("{number} %"));
            // Behind the server's back, as another program would.
            origin.storage.append(&[event]).await.expect("stored");
        }
    }
    let mut reader = origin.reader(&["a", ODD], None, &format!("a:0,{ENCODED}:0")).await;
    let mut next = [0, 0];
    while next != [700, 700] {
        let (id, data) = reader.next().await;
        let position = |prefix: &str| {
            let entry = id.split(',').find_map(|entry| entry.strip_prefix(prefix));
            entry.expect("each channel").parse::<usize>().expect("a number")
        };
        let at = [position("a:"), position(&format!("{ENCODED}:"))];
        let which = usize::from(at[0] == next[0]);
        next[which] += 1;
        assert_eq!((at, data), (next, format!("{} %", next[which] - 1)));
    }
    // From where the last page has ended, without a gap.
    origin.publish(ODD, "live").await;
    assert_eq!(reader.next().await.1, "\"live\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_proxy_never_got_is_healed_in_order_and_once() {
    let Some(origin) = Origin::start(Options::default()).await else { return };
    let mut readers = Vec::new();
    for channels in [&["a"][..], &["b", "a"], &["a", ODD]] {
        readers.push(origin.reader(channels, None, "").await);
    }
    origin.publish("a", 1).await;
    for reader in &mut readers {
        reader.reads(&["1"]).await;
    }
    origin.door.swallow(true);
    origin.publish("a", 2).await;
    origin.publish("a", 3).await;
    let swallowed = async || origin.door.swallowed.load(Ordering::SeqCst) >= 1;
    until("the proxy to miss an event", swallowed).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    origin.door.swallow(false);
    let begun = Instant::now();
    origin.publish("a", 4).await;
    for reader in &mut readers {
        reader.reads(&["2", "3", "4"]).await;
    }
    println!("healed after {:?}", begun.elapsed());
    origin.publish("a", 5).await;
    for reader in &mut readers {
        reader.reads(&["5"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_gap_is_healed_in_pages() {
    let Some(origin) = Origin::start(Options::default()).await else { return };
    let mut readers = Vec::new();
    for channels in [&["a"][..], &["b", "a"]] {
        readers.push(origin.reader(channels, None, "").await);
    }
    origin.publish("a", "first").await;
    for reader in &mut readers {
        reader.reads(&["\"first\""]).await;
    }
    origin.door.swallow(true);
    let texts: Vec<String> =
        (0..90).map(|number| format!("{number} {}", "%".repeat(1000))).collect();
    for text in &texts {
        origin.publish_with(json!({"channel": "a", "text": text}), json!({})).await;
    }
    let swallowed = async || origin.door.swallowed.load(Ordering::SeqCst) >= 1;
    until("the proxy to miss events", swallowed).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    origin.door.swallow(false);
    origin.publish("a", "last").await;
    for reader in &mut readers {
        for text in &texts {
            assert_eq!(reader.next().await.1, *text);
        }
        reader.reads(&["\"last\""]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_event_is_found_although_nothing_follows_it() {
    let options = Options { link_timeout: Duration::from_secs(3), ..Options::default() };
    let Some(origin) = Origin::start(options).await else { return };
    let mut reader = origin.reader(&["a"], None, "").await;
    origin.publish("a", 1).await;
    reader.reads(&["1"]).await;
    origin.door.swallow(true);
    origin.publish("a", 2).await;
    reader.reads(&["2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_taken_back_ends_a_held_stream() {
    let options = granted(&[("alice", "a"), ("alice", "b"), ("bob", "a"), ("bob", ODD)]);
    let grants = options.grants.clone().expect("given");
    let Some(origin) = Origin::start(options).await else { return };
    let mut alice = origin.reader(&["a", "b"], Some("alice"), "").await;
    let mut bob = origin.reader(&["a", ODD], Some("bob"), "").await;
    origin.publish("a", 1).await;
    alice.reads(&["1"]).await;
    bob.reads(&["1"]).await;
    grants.revoke(Some("alice"), "a");
    let begun = Instant::now();
    origin.changed("alice", "a").await;
    let refused = alice.0.next().await.expect("an end").expect_err("an error");
    println!("ended after {:?}: {refused}", begun.elapsed());
    assert!(refused.to_string().contains("Permission denied to channels: a"), "{refused}");
    origin.publish("a", 2).await;
    bob.reads(&["2"]).await;
    // Also with a name that needs encoding; and a permission that is still there ends nothing.
    origin.changed("bob", "a").await;
    origin.publish(ODD, 3).await;
    bob.reads(&["3"]).await;
    grants.revoke(Some("bob"), ODD);
    origin.changed("bob", ODD).await;
    let refused = bob.0.next().await.expect("an end").expect_err("an error");
    assert!(refused.to_string().contains(ODD), "{refused}");
}

/// The proxy asks about both at the same moment, at the same place, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_what_is_anothers_whatever_the_proxy_asks_at_once() {
    let channels = [("alice", "room"), ("bob", "room"), ("alice", "of-alice"), ("bob", "of-bob")];
    let Some(origin) = Origin::start(granted(&channels)).await else { return };
    let mut same = [
        origin.reader(&["room"], Some("alice"), "").await,
        origin.reader(&["room"], Some("bob"), "").await,
    ];
    let mut own = [
        origin.reader(&["of-alice"], Some("alice"), "").await,
        origin.reader(&["of-bob"], Some("bob"), "").await,
    ];
    let http = reqwest::Client::new();
    let publish = format!("{}/publish/", origin.pushpin.control());
    for round in 0..rounds() {
        let hint =
            |channel| json!({"channel": channel, "formats": {"http-stream": {"action": "hint"}}});
        let hints: Vec<_> = ["user-alice", "user-bob"].map(hint).into();
        let body = json!({"items": hints}).to_string();
        let hinted = http.post(&publish).header("content-type", "application/json");
        assert_eq!(hinted.body(body).send().await.expect("it answers").status(), 200);
        for (index, skipped) in ["bob", "alice"].into_iter().enumerate() {
            let event = json!({"channel": "room", "data": format!("{round} not for {skipped}")});
            origin.publish_with(event, json!({"skip_users": [skipped]})).await;
            let expected = format!("\"{round} not for {skipped}\"");
            assert_eq!(same[index].next().await.1, expected);
        }
        origin.publish("of-alice", round).await;
        origin.publish("of-bob", format!("bob {round}")).await;
        assert_eq!(own[0].next().await.1, round.to_string());
        assert_eq!(own[1].next().await.1, format!("\"bob {round}\""));
    }
}

/// Reads on until there is this text.
async fn reads_until(socket: &mut TcpStream, text: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let more = socket.read_buf(&mut read).await.expect("no error");
        assert!(more > 0, "it has ended: {}", String::from_utf8_lossy(&read));
    }
}

/// `SSE_GRIP_CONNECTIONS` says how many; more than 100 are asked about once a minute, as without
/// settings, and for ten minutes. With more than 500, Pushpin has more to ask than it can, and has
/// found its pace by then.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_asked_about_no_more_often_than_is_said() {
    let connections = number("SSE_GRIP_CONNECTIONS", 30);
    let (link_timeout, measured) = if connections > 100 { (60, 10) } else { (4, 3) };
    let link_timeout = Duration::from_secs(link_timeout);
    let mut options = granted(&[("u", "a")]);
    options.link_timeout = link_timeout;
    let Some(origin) = Origin::start(options).await else { return };
    let asked = || origin.asked.load(Ordering::SeqCst);
    let begun = Instant::now();
    let mut readers = Vec::new();
    for _ in 0..connections {
        let mut reader = TcpStream::connect(origin.pushpin.address()).await.expect("it listens");
        let request = "GET /events/?channel=a HTTP/1.1\r\nHost: a\r\nX-User: u\r\n\r\n";
        reader.write_all(request.as_bytes()).await.expect("it reads");
        within("a stream", reads_until(&mut reader, "stream-open")).await;
        readers.push(reader);
    }
    // However long that takes here: there is no more than one question for each connection and
    // period, and one when it has come. Pushpin may ask less often, and does when it has many.
    until("a question", async || asked() > 0).await;
    tokio::time::sleep(measured * link_timeout).await;
    let (questions, elapsed) = (asked(), begun.elapsed());
    let tenths = questions as u128 * 10_000 / elapsed.as_millis().max(1);
    let rate = format!("{}.{}/s", tenths / 10, tenths % 10);
    println!("{questions} questions about {connections} connections in {elapsed:?}: {rate}");
    let periods = usize::try_from(elapsed.as_secs() / link_timeout.as_secs()).expect("a few") + 1;
    assert!(questions <= (1 + periods) * connections, "{questions} in {periods} periods");
    let published = Instant::now();
    origin.publish("a", "still there").await;
    // Those that wait for their turn get it then.
    let patience = DEADLINE + Duration::from_millis(200) * u32::try_from(connections).expect("few");
    let all = async {
        for reader in &mut readers {
            reads_until(reader, "\"still there\"").await;
        }
    };
    tokio::time::timeout(patience, all).await.expect("all get it");
    println!("all have got an event after {:?}", published.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_on_all_names_and_a_proxy_that_is_down_holds_up_no_other() {
    let nobody = testkit::port::Port::reserve();
    let others = vec![format!("http://{nobody}?verify-key=of-nobody")];
    let options = Options { prefix: "site-1.", others, ..granted(&[("u", ODD)]) };
    let grants = options.grants.clone().expect("given");
    let Some(origin) = Origin::start(options).await else { return };
    let mut reader = origin.reader(&[ODD], Some("u"), "").await;
    origin.publish(ODD, 1).await;
    assert_eq!(reader.next().await, (format!("{ENCODED}:1"), "1".into()));
    origin.door.swallow(true);
    origin.publish(ODD, 2).await;
    let swallowed = async || origin.door.swallowed.load(Ordering::SeqCst) >= 1;
    until("the proxy to miss an event", swallowed).await;
    origin.door.swallow(false);
    origin.publish(ODD, 3).await;
    reader.reads(&["2", "3"]).await;
    grants.revoke(Some("u"), ODD);
    // One of them has not heard of it, which is told; the other one has.
    let url = format!("http://{}/permissions/changed", origin.address);
    let body = json!({"user": "u", "channel": ODD}).to_string();
    let http = reqwest::Client::new();
    let told = http.post(url).bearer_auth(testkit::server::TOKEN).body(body).send().await;
    assert_eq!(told.expect("it answers").status(), 503);
    reader.0.next().await.expect("an end").expect_err("an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_hangs_holds_up_no_permission_that_is_taken_back() {
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = hanging.local_addr().expect("bound");
    let others = vec![format!("http://{address}?verify-key=of-one-that-hangs")];
    let options = Options { others, ..granted(&[("u", "a")]) };
    let grants = options.grants.clone().expect("given");
    let Some(origin) = Origin::start(options).await else { return };
    let mut reader = origin.reader(&["a"], Some("u"), "").await;
    grants.revoke(Some("u"), "a");
    // The answer is that not all have heard of it, when that one has had its time.
    tokio::select! {
        () = origin.changed("u", "a") => panic!("it did not hang"),
        end = reader.0.next() => drop(end.expect("an end").expect_err("an error")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_given_up_and_what_it_misses_are_counted() {
    let nobody = testkit::port::Port::reserve();
    let others = vec![format!("http://{nobody}?verify-key=of-nobody")];
    let Some(origin) = Origin::start(Options { others, ..Options::default() }).await else {
        return;
    };
    let mut reader = origin.reader(&["a"], None, "").await;
    origin.publish("a", 1).await;
    for number in 0..3 {
        let event = json!({"channel": "a", "data": format!("live {number}")});
        origin.publish_with(event, json!({"store": false})).await;
    }
    reader.reads(&["1", "\"live 0\"", "\"live 1\"", "\"live 2\""]).await;
    let url = format!("http://{}/metrics", origin.address);
    let counted = async |error: &str| {
        let text = reqwest::get(&url).await.expect("numbers").text().await.expect("a text");
        let name = format!("sse_server_proxy_errors_total{{error=\"{error}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name)).expect("from the start");
        line.parse::<u64>().expect("a number")
    };
    until("what it has missed to be counted", async || counted("missed").await == 3).await;
    until("it to be given up", async || counted("given-up").await == 1).await;
    assert_eq!(counted("refused").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_proxy_gets_a_stream_of_our_own_and_no_word_of_grip() {
    let Some(origin) = Origin::start(Options::default()).await else { return };
    let http = reqwest::Client::new();
    let url = format!("http://{}/events/?channel=a", origin.address);
    for signature in
        ["", "x", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJwdXNocGluIiwiZXhwIjo5OTk5OTk5OTk5fQ."]
    {
        let answer = http.get(&url).header("grip-sig", signature).send().await.expect("a stream");
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().keys().any(|name| name.as_str().starts_with("grip-")));
        assert!(answer.content_length().is_none(), "it goes on");
    }
    for path in ["/grip/public/a", "/grip/next/x"] {
        let url = format!("http://{}{path}", origin.address);
        assert_eq!(http.get(url).send().await.expect("an answer").status(), 404, "{path}");
    }
    // What a proxy cannot carry goes through it as it is.
    let filtered = origin.pushpin.url("/events/?channel=a&messages_types=wanted");
    let mut answer = reqwest::get(filtered).await.expect("a stream");
    let first = answer.chunk().await.expect("no error").expect("an opening");
    assert!(first.starts_with(b":"));
    origin.publish_with(json!({"channel": "a", "data": 1}), json!({"event": "other"})).await;
    origin.publish_with(json!({"channel": "a", "data": 2}), json!({"event": "wanted"})).await;
    let chunk = answer.chunk().await.expect("no error").expect("an event");
    let text = String::from_utf8_lossy(&chunk);
    assert!(text.contains("data: 2") && !text.contains("data: 1"), "{text}");
}

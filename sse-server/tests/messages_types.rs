//! `messages_types`: events of other types do not come, and yet the position goes on.

use std::fmt::Write as _;

use access::configured;
use serde_json::{Value, json};
use server::{Response, Server};
use testkit::{access, server};

async fn publish(server: &Server, channel: &str, event: &str, data: u64) {
    server.publish(&json!({"channel": channel, "event": event, "data": data}).to_string()).await;
}

/// Publishes numbers of this range, those that 100 divides as `wanted`, the others as `noise`.
async fn mixed(server: &Server, channel: &str, numbers: std::ops::RangeInclusive<u64>) {
    let event = |n| if n % 100 == 0 { "wanted" } else { "noise" };
    let events: Vec<Value> =
        numbers.map(|n| json!({"channel": channel, "event": event(n), "data": n})).collect();
    server.publish(&Value::from(events).to_string()).await;
}

async fn open(server: &Server, query: &str, resume: &str) -> Response {
    let header =
        if resume.is_empty() { String::new() } else { format!("Last-Event-ID: {resume}\r\n") };
    let mut stream = server.get(&format!("/events/?{query}"), &header).await;
    stream.opening().await;
    stream
}

/// The last id in a piece of a stream.
fn last_id(text: &str) -> String {
    let mut ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.next_back().expect("an id").to_owned()
}

#[tokio::test]
async fn messages_types_leaves_out_events_of_other_types_live_and_on_replay() {
    let server = Server::start(&[]).await;
    let mut live = open(&server, "channel=a&channel=b&messages_types=info,%20alert", "").await;
    for (n, (channel, event)) in
        [("a", "info"), ("a", "other"), ("b", "message"), ("b", "alert"), ("a", "info")]
            .into_iter()
            .enumerate()
    {
        publish(&server, channel, event, n as u64).await;
    }
    live.until("id: a:0,b:0\n\n").await;
    let expected = "event: info\nid: a:1,b:0\ndata: 0\n\n\
                    event: alert\nid: a:2,b:2\ndata: 3\n\n\
                    event: info\nid: a:3,b:2\ndata: 4\n\n";
    assert_eq!(live.until("data: 4\n\n").await, expected);

    let mut replay = open(&server, "channel=a&messages_types=info", "a:0").await;
    let expected = "event: info\nid: a:1\ndata: 0\n\nevent: info\nid: a:3\ndata: 4\n\n";
    assert_eq!(replay.until("data: 4\n\n").await, expected);
    let mut unnamed = open(&server, "channel=b&messages_types=message", "b:0").await;
    // What is left out at the end is told too.
    assert_eq!(
        unnamed.until("id: b:2\n\n").await,
        "event: message\nid: b:1\ndata: 2\n\nid: b:2\n\n"
    );
    for all in ["", "&messages_types=", "&messages_types=%20,,"] {
        let mut all = open(&server, &format!("channel=b{all}"), "b:0").await;
        let seen = all.until("data: 3\n\n").await;
        assert_eq!(seen.matches("event: ").count(), 2, "{seen}");
    }
    for both in ["&messages_types=info&messages_types=other", "&messages_types=info,other,,info"] {
        let mut both = open(&server, &format!("channel=a{both}"), "a:0").await;
        assert_eq!(both.until("data: 4\n\n").await.matches("event: ").count(), 3);
    }
}

#[tokio::test]
async fn the_position_goes_on_past_events_that_are_left_out() {
    let mut server = Server::start(&["--keep-alive", "100ms"]).await;
    let mut stream = open(&server, "channel=a&messages_types=wanted", "").await;
    stream.until("id: a:0\n\n").await;
    mixed(&server, "a", 1..=50).await;
    // No event comes, so the next sign of life says it, once.
    let told = stream.until("id: a:50\n\nevent: keep-alive\ndata:\n\n").await;
    assert!(!told.contains("noise"), "{told}");
    assert_eq!(stream.until("data:\n\n").await, "event: keep-alive\ndata:\n\n");

    // A reader that is behind is told with each page.
    mixed(&server, "a", 51..=350).await;
    let mut replay = open(&server, "channel=a&messages_types=wanted", "a:0").await;
    let mut seen = replay.until("id: a:350\n\n").await;
    seen = seen.replace("event: keep-alive\ndata:\n\n", "");
    let event = |n: u64| format!("event: wanted\nid: a:{n}\ndata: {n}\n\n");
    assert_eq!(seen, event(100) + &event(200) + &event(300) + "id: a:350\n\n");
    let mut none = open(&server, "channel=a&messages_types=nothing", "a:0").await;
    let pages = none.until("id: a:350\n\n").await.replace("event: keep-alive\ndata:\n\n", "");
    assert_eq!(pages, "id: a:100\n\nid: a:200\n\nid: a:300\n\nid: a:350\n\n");

    // And at the end, so that nobody looks again for what is not wanted.
    stream.until("id: a:350\n\n").await;
    let mut late = open(&server, "channel=a&messages_types=wanted", "a:350").await;
    mixed(&server, "a", 351..=360).await;
    server.signal("-TERM");
    let end = late.body().await;
    assert!(
        end.contains("id: a:360\n\nretry: ") || end.contains("id: a:360\n\nevent: keep-alive"),
        "{end}"
    );
    server.wait().await;
}

#[tokio::test]
async fn a_filtered_stream_that_is_cut_anywhere_resumes_exactly() {
    let server = Server::start(&["--keep-alive", "50ms"]).await;
    let query = "channel=a&channel=b&messages_types=wanted";
    let mut id = "a:0,b:0".to_owned();
    let mut seen = String::new();
    let mut published = 0;
    for round in 0..20 {
        let mut stream = open(&server, query, &id).await;
        for channel in ["a", "b"] {
            mixed(&server, channel, published + 1..=published + 70).await;
        }
        published += 70;
        // Cut after an event, a position or a keep-alive, or with nothing read at all.
        if round % 4 != 3 {
            let piece =
                stream.until(["\n\n", "id: ", "event: keep-alive\ndata:\n\n"][round % 3]).await;
            // Only whole blocks count.
            let whole = &piece[..piece.rfind("\n\n").map_or(0, |end| end + 2)];
            seen += whole;
            if whole.contains("id: ") {
                id = last_id(whole);
            }
        }
    }
    let mut stream = open(&server, query, &id).await;
    for channel in ["a", "b"] {
        publish(&server, channel, "wanted", 9999).await;
    }
    seen += &stream.until("data: 9999\n\n").await;
    seen += &stream.until("data: 9999\n\n").await;
    assert!(!seen.contains("noise") && !seen.contains("stream-reset"), "{seen}");
    let data = seen.lines().filter_map(|line| line.strip_prefix("data: "));
    let mut data: Vec<u64> = data.filter_map(|data| data.parse().ok()).collect();
    data.sort_unstable();
    let mut expected: Vec<u64> =
        (1..=published).filter(|n| n % 100 == 0).flat_map(|n| [n, n]).collect();
    expected.extend([9999, 9999]);
    assert_eq!(data, expected);
}

#[tokio::test]
async fn control_events_are_never_left_out() {
    let server = Server::start(&["--keep-alive", "50ms"]).await;
    server.fill("a", 3).await;
    let mut stream = open(&server, "channel=a&messages_types=nothing", "a:77").await;
    let reset = "event: stream-reset\nid: a:3\ndata: {\"channels\": [\"a\"]}\n\n";
    assert!(stream.until("[\"a\"]}\n\n").await.ends_with(reset));
    stream.until("event: keep-alive\ndata:\n\n").await;
    let body = server.get("/events/?messages_types=x", "").await.body().await;
    assert!(body.starts_with("event: stream-error\n"), "{body}");
}

#[tokio::test]
async fn too_many_types_are_refused_and_types_of_the_endpoint_cannot_be_changed() {
    let (server, _folder) = configured(
        "[[endpoint]]\npath = \"/info/\"\nchannels = \"a\"\nmessages-types = [\"info\", \"message\"]\n",
    )
    .await;
    let types = (0..100).fold(String::new(), |mut types, n| {
        let _ = write!(types, "t{n},");
        types
    });
    open(&server, &format!("channel=a&messages_types={types}"), "").await;
    let many = server.get(&format!("/events/?channel=a&messages_types={types}more"), "").await;
    let body = { many }.body().await;
    assert!(body.contains("\"Invalid request: More than 100 messages_types.\""), "{body}");
    let mut stream = server.get("/info/", "").await;
    stream.until("id: a:0\n\n").await;
    for event in ["other", "info", "other", "message"] {
        publish(&server, "a", event, 1).await;
    }
    let expected = "event: info\nid: a:2\ndata: 1\n\nevent: message\nid: a:4\ndata: 1\n\n";
    assert_eq!(stream.until("id: a:4\ndata: 1\n\n").await, expected);
    let body = server.get("/info/?messages_types=other", "").await.body().await;
    assert!(body.contains("\"Invalid request: The messages_types are fixed here.\""), "{body}");
}

#[tokio::test]
async fn channels_that_are_not_stored_are_filtered_too() {
    let (server, _folder) = configured("unreliable = \"u-*\"\n").await;
    let mut alone = open(&server, "channel=u-x&messages_types=wanted", "").await;
    let mut beside = open(&server, "channel=u-x&channel=a&messages_types=wanted", "").await;
    beside.until("id: a:0\n\n").await;
    for (n, event) in ["noise", "wanted", "noise", "wanted"].into_iter().enumerate() {
        publish(&server, "u-x", event, n as u64).await;
    }
    assert_eq!(
        alone.until("data: 3\n\n").await,
        "event: wanted\ndata: 1\n\nevent: wanted\ndata: 3\n\n"
    );
    assert_eq!(
        beside.until("data: 3\n\n").await,
        "event: wanted\nid: a:0\ndata: 1\n\nevent: wanted\nid: a:0\ndata: 3\n\n"
    );
}

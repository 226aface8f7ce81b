//! What Prometheus sees, and who else does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::server::{Server, TOKEN, send, until, within};

/// A server with these settings in its file, which stays as long as the folder.
pub(crate) async fn configured(toml: &str, flags: &[&str]) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, toml).expect("writable");
    let path = path.display().to_string();
    (Server::start(&[&["--config", &path], flags].concat()).await, folder)
}

#[tokio::test]
async fn what_happens_is_counted_under_names_that_prometheus_knows() {
    let rules = "[[access.rules]]\nchannel = \"a\"\nallow = \"public\"\n";
    let (server, _folder) = configured(rules, &["--max-per-address", "4"]).await;
    server.fill("a", 3).await;
    let mut stream = server.admitted("/events/?channel=a&lastEventId=a:1", "").await;
    stream.opening().await;
    stream.until("data: 3\n\n").await;
    server.fill("a", 1).await;
    stream.until("id: a:4\n").await;
    let mut reset = server.admitted("/events/?channel=a&lastEventId=a:99", "").await;
    reset.until("stream-reset").await;
    let mut forbidden = server.admitted("/events/?channel=b", "").await;
    forbidden.until("forbidden").await;
    drop(forbidden);
    // Those before may not be gone yet.
    until("a place", async || server.post("{}", "").await.status == 401).await;
    assert_eq!(server.admitted("/nothing", "").await.status, 404);
    let mut kept = Vec::new();
    until("two places", async || {
        let answer = server.get("/health/live", "").await;
        if answer.status == 200 {
            kept.push(answer);
        }
        kept.len() == 2
    })
    .await;
    assert_eq!(server.get("/health/live", "").await.status, 503);
    drop(kept);
    let mut answer = server.admitted("/metrics", "").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(kind));
    let text = answer.body().await;
    assert!(text.ends_with("# EOF\n"));
    for line in [
        "streams 2",
        "opened_streams_total 2",
        "channels 1",
        "published_events_total 4",
        "delivered_events_total 3",
        "stream_resets_total 1",
        "stream_errors_total{condition=\"forbidden\"} 1",
        "refusals_total{status=\"401\",error=\"unauthorized\"} 1",
        "refusals_total{status=\"404\",error=\"not-found\"} 1",
        "slow_consumers_closed_total 0",
        "storage_seconds_count{operation=\"append\"} 2",
    ] {
        assert!(text.contains(&format!("\nsse_server_{line}\n")), "{line} is not in {text}");
    }
    let refused = "sse_server_refusals_total{status=\"503\",error=\"too-many-connections\"}";
    assert!(text.contains(refused), "{text}");
    let number = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("sse_server_{name} ")));
        line.expect(name).parse().expect("a number")
    };
    assert!(number("stream_bytes_total") > 2.0 * 2048.0, "two openings at least");
    assert!(number("delivery_lag_seconds_count") >= 1.0);
    assert!(number("accepted_connections_total") >= number("connections"));
    // Every name is explained, once.
    let names = |kind: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
        lines.map(|line| line.split(' ').next().expect("a name").to_owned()).collect()
    };
    let (help, kinds) = (names("# HELP "), names("# TYPE "));
    assert_eq!(help.iter().collect::<BTreeSet<_>>().len(), help.len());
    assert_eq!(help, kinds);
    let (process, own): (Vec<_>, Vec<_>) =
        help.iter().partition(|name| name.starts_with("process_"));
    assert!(own.iter().all(|name| name.starts_with("sse_server_")), "{help:?}");
    assert_eq!(process.len(), 6, "{process:?}");
    assert!(!text.contains("channel=\"") && !text.contains("127.0.0.1"), "no names, no addresses");
}

#[tokio::test]
async fn the_numbers_are_for_this_machine_and_for_who_may_publish_everywhere() {
    let tokens = "[[publish-tokens]]\ntoken = \"narrow\"\nchannel = \"a\"\n\
                  [[publish-tokens]]\ntoken = \"wide\"\nchannel = \"*\"\n";
    let (server, _folder) = configured(tokens, &[]).await;
    let status = async |headers: &str| server.get("/metrics", headers).await.status;
    assert_eq!(status("").await, 200);
    // Through a proxy on this machine anyone could come.
    for proxy in ["X-Forwarded-For: 192.0.2.1\r\n", "Forwarded: for=x\r\n", "Via: 1.1 x\r\n"] {
        assert_eq!(status(proxy).await, 401, "{proxy}");
        let auth = |token: &str| format!("{proxy}Authorization: Bearer {token}\r\n");
        assert_eq!(status(&auth("wrong")).await, 401);
        assert_eq!(status(&auth("narrow")).await, 403);
        assert_eq!(status(&auth("wide")).await, 200);
        assert_eq!(status(&auth(TOKEN)).await, 200);
    }
}

#[tokio::test]
async fn with_an_address_of_their_own_the_numbers_are_there_and_nowhere_else() {
    let server = Server::start(&["--metrics-listen", "127.0.0.1:0", "--log-format", "json"]).await;
    server.until_logged("metrics at http://").await;
    let log = server.log();
    let (_, rest) = log.split_once("metrics at http://").expect("logged");
    let address = rest.split('/').next().expect("an address").parse().expect("an address");
    let get = async |path: &str| {
        send(address, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await
    };
    let mut stream = server.get("/events/?channel=a", "").await;
    stream.opening().await;
    assert!(get("/metrics").await.body().await.contains("\nsse_server_streams 1\n"));
    assert_eq!(get("/health/ready").await.status, 200);
    assert_eq!(get("/events/?channel=a").await.status, 404);
    assert_eq!(server.get("/metrics", "").await.status, 404);
}

#[tokio::test]
async fn presence_is_told_for_the_channels_of_the_token() {
    let tokens = "[[publish-tokens]]\ntoken = \"rooms\"\nchannel = \"room-*\"\n";
    let (server, _folder) = configured(tokens, &[]).await;
    let mut streams = Vec::new();
    for query in ["channel=room-1&channel=room-2", "channel=room-1", "channel=other"] {
        let mut stream = server.get(&format!("/events/?{query}"), "").await;
        stream.opening().await;
        streams.push(stream);
    }
    let present = async |token: &str| -> Value {
        let header = format!("Authorization: Bearer {token}\r\n");
        let mut answer = server.get("/channels/", &header).await;
        assert_eq!(answer.status, 200);
        serde_json::from_str(&answer.body().await).expect("JSON")
    };
    let entry = |channel: &str, streams: usize| json!({"channel": channel, "streams": streams});
    let rooms = [entry("room-1", 2), entry("room-2", 1)];
    assert_eq!(present("rooms").await, json!({"scope": "instance", "channels": rooms}));
    let all = [entry("other", 1), entry("room-1", 2), entry("room-2", 1)];
    assert_eq!(present(TOKEN).await["channels"], json!(all));
    assert_eq!(server.get("/channels/", "").await.status, 401);
    streams.remove(0);
    within("who has gone is not counted", async {
        while present("rooms").await["channels"] != json!([entry("room-1", 1)]) {}
    })
    .await;
}

#[tokio::test]
async fn the_process_tells_what_it_takes_of_the_machine() {
    let server = Server::start(&[]).await;
    let numbers = async || -> std::collections::HashMap<String, f64> {
        let text = server.get("/metrics", "").await.body().await;
        let lines = text.lines().filter(|line| line.starts_with("process_"));
        let pairs = lines.filter_map(|line| line.split_once(' '));
        pairs.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
    };
    let before = numbers().await;
    let cpu = "process_cpu_seconds_total";
    until("it has worked", async || {
        server.fill("busy", 100).await;
        numbers().await[cpu] > before[cpu]
    })
    .await;
    let proc = |file: &str| {
        std::fs::read_to_string(format!("/proc/{}/{file}", server.id())).expect("it runs")
    };
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("past 1970");
    let start = before["process_start_time_seconds"];
    assert!(start < now.as_secs_f64() && start > now.as_secs_f64() - 600.0, "{start}");
    let status = proc("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: f64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    let resident = before["process_resident_memory_bytes"];
    assert!(resident > 1e6 && resident <= peak * 1024.0, "{resident} of {peak} kB");
    assert!(before["process_virtual_memory_bytes"] >= resident);
    let limits = proc("limits");
    let limit = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let limit = limit.split_whitespace().nth(3).expect("a number");
    assert_eq!(before["process_max_fds"].to_string(), limit);
    // A connection is a descriptor.
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = server.get("/events/?channel=a", "").await;
        stream.opening().await;
        streams.push(stream);
    }
    let after = numbers().await["process_open_fds"];
    assert!(after >= before["process_open_fds"] + 10.0, "{after}");
}

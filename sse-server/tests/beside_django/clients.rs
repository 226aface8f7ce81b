//! Clients of the one at servers of the other: the scripts that django-eventstream brings with it
//! read this server in a browser, and our native client reads django-eventstream.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use sse_client::{EventSource, Item, reqwest};
use testkit::browser::Browser;
use testkit::instances::within;
use testkit::server::Server;
use testkit::services;

use testkit::django::Django;

/// What channels can be called.
const ODD: &str = "a b/c,d:é%~";
const ENCODED: &str = "a%20b/c%2Cd%3A%C3%A9%25~";

/// A script of the installed package.
fn script(python: &str, name: &str) -> String {
    let ask = "from importlib.util import find_spec as find; \
               print(find('django_eventstream').submodule_search_locations[0])";
    let said = Command::new(python).args(["-c", ask]).output().expect("Python is there").stdout;
    let folder = PathBuf::from(String::from_utf8(said).expect("UTF-8").trim());
    let path = folder.join("static/django_eventstream").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads by what these scripts make of `make`, over a restart and from an id.
async fn reads(setup: &str, make: &str, resume: &str) {
    let Some(browser) = Browser::start().await else { return };
    let mut server = Server::start(&[]).await;
    browser.open(&server.url("/health/live")).await;
    browser.run(setup).await;
    let url = "/events/?channel=a%20b%2Fc%2Cd%3A%C3%A9%25~&channel=b";
    let listen = format!(
        "window.seen = [];
         window.source = {make}('{url}');
         for (const type of ['message', 'note', 'stream-open', 'stream-error'])
             source.addEventListener(type, event => seen.push(
                 [type, event.lastEventId, type == 'stream-open' ? '' : event.data].join('|')));"
    );
    browser.run(&listen).await;
    let seen = "return seen.join('\\n');";
    browser.until_told(seen, "stream-open|").await;
    let publish = async |server: &Server, event: &str, text: &str| {
        let event = json!({"channel": ODD, "event": event, "text": text});
        server.publish(&event.to_string()).await;
    };
    publish(&server, "message", "one").await;
    publish(&server, "note", "two\nlines").await;
    browser.until_told(seen, "two\nlines").await;
    server.kill().await;
    server.restart().await;
    publish(&server, "message", "three").await;
    browser.until_told(seen, "three").await;
    let told = browser.run("return seen.filter(it => !it.startsWith('stream-open'));").await;
    let id = |number: u64| format!("{ENCODED}:{number},b:0");
    let expected = json!([
        format!("message|{}|one", id(1)),
        format!("note|{}|two\nlines", id(2)),
        format!("message|{}|three", id(3)),
    ]);
    assert_eq!(told, expected);
    // From an id of another session, and an error that is final.
    let again = format!(
        "source.close();
         window.seen = [];
         window.source = {resume};
         for (const type of ['message', 'note'])
             source.addEventListener(type, event => seen.push(event.data));"
    );
    let from = format!("{ENCODED}:1,b:0");
    browser.run(&again.replace("{url}", url).replace("{id}", &from)).await;
    browser.until_told(seen, "two\nlines\nthree").await;
    let refused = format!(
        "source.close();
         window.seen = [];
         window.source = {make}('/events/');
         source.addEventListener('stream-error', event => {{
             seen.push(event.lastEventId + event.data);
             source.close();
         }});"
    );
    browser.run(&refused).await;
    browser.until_told(seen, "No channels specified").await;
    let told = browser.run(seen).await;
    assert!(told.as_str().is_some_and(|told| told.starts_with("error{")), "{told}");
}

#[tokio::test]
async fn the_polyfill_of_django_eventstream_reads_this_server() {
    let Some(python) = services::variable("SSE_TEST_DJANGO") else { return };
    let polyfill = script(&python, "eventsource.min.js");
    let setup = format!(
        "window.EventSource = undefined;
         {polyfill}
         if (window.EventSource === undefined) throw 'it does not take its place';"
    );
    let resume = "new EventSource('{url}&lastEventId=' + encodeURIComponent('{id}'))";
    reads(&setup, "new EventSource", resume).await;
}

#[tokio::test]
async fn the_reconnecting_script_of_django_eventstream_reads_this_server() {
    let Some(python) = services::variable("SSE_TEST_DJANGO") else { return };
    let setup = script(&python, "reconnecting-eventsource.js");
    let resume = "new ReconnectingEventSource('{url}', {lastEventId: '{id}'})";
    reads(&setup, "new ReconnectingEventSource", resume).await;
}

/// A site that keeps its events in SQLite.
async fn site() -> Option<(Django, tempfile::TempDir)> {
    let python = services::variable("SSE_TEST_DJANGO")?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("db.sqlite3").display().to_string();
    Some((Django::start(&python, None, "model", &path).await, folder))
}

fn source(django: &Django, channels: &[&str], id: &str) -> EventSource {
    let url = format!("{}/events/", django.url);
    let source = EventSource::channels(url, channels).last_event_id(id.to_owned());
    source.build().expect("a client")
}

async fn item(source: &mut EventSource) -> Item {
    loop {
        let item = within("something in the stream", source.next()).await.expect("it goes on");
        match item.expect("no error") {
            Item::Open | Item::Waiting { .. } => {}
            item => return item,
        }
    }
}

/// An event's id, as one entry for each channel, and its data.
async fn event(source: &mut EventSource) -> (BTreeSet<String>, String) {
    let Item::Event(event) = item(source).await else { panic!("an event") };
    let id = event.last_event_id().split(',').map(str::to_owned).collect();
    (id, event.data().to_owned())
}

fn at(first: u64, second: u64) -> BTreeSet<String> {
    [format!("a:{first}"), format!("{ENCODED}:{second}")].into()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_client_resumes_streams_of_several_channels_of_django() {
    let Some((django, _folder)) = site().await else { return };
    for number in 1..=3 {
        django.send("a", "message", json!(number)).await;
    }
    for number in 1..=2 {
        django.send(ODD, "message", json!({"odd": number})).await;
    }
    let mut reader = source(&django, &["a", ODD], &format!("a:1,{ENCODED}:1"));
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(event(&mut reader).await);
    }
    // In which order the channels come, Django does not say.
    let data: BTreeSet<_> = got.iter().map(|(_, data)| data.as_str()).collect();
    assert_eq!(data, ["2", "3", r#"{"odd": 2}"#].into());
    assert_eq!(got[2].0, at(3, 2));
    django.send("a", "message", json!("live")).await;
    assert_eq!(event(&mut reader).await, (at(4, 2), "\"live\"".to_owned()));
    drop(reader);
    django.send(ODD, "message", json!("later")).await;
    let mut again = source(&django, &["a", ODD], &format!("{ENCODED}:2,a:4"));
    assert_eq!(event(&mut again).await, (at(4, 3), "\"later\"".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_client_tells_of_gaps_and_errors_of_django() {
    let Some((django, _folder)) = site().await else { return };
    django.send("a", "message", json!(1)).await;
    let mut strange = source(&django, &["a", ODD], &format!("a:77,{ENCODED}:0"));
    let Item::Reset { channels } = item(&mut strange).await else { panic!("a reset") };
    assert_eq!(channels, ["a"]);
    django.send("a", "message", json!(2)).await;
    assert_eq!(event(&mut strange).await, (at(2, 0), "2".to_owned()));
    let error = async |mut source: EventSource| loop {
        match within("an error", source.next()).await.expect("an item") {
            Ok(Item::Open | Item::Waiting { .. }) => {}
            Ok(item) => panic!("unexpected {item:?}"),
            Err(error) => {
                let next = within("the end", source.next()).await;
                assert!(next.is_none(), "it does not come back: {next:?}");
                return error.to_string();
            }
        }
    };
    let told = error(source(&django, &["a"], "garbage")).await;
    assert!(told.contains("Failed to parse Last-Event-ID"), "{told}");
    let many: Vec<String> = (0..11).map(|number| format!("c{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let told = error(source(&django, &many, "")).await;
    assert!(told.contains("Channel limit exceeded"), "{told}");
    // What comes back after an error gets a status, and stays away.
    let http = reqwest::Client::new();
    let answer = http.get(format!("{}/events/?channel=a", django.url));
    let answer = answer.header("last-event-id", "error").send().await.expect("an answer");
    assert_eq!(answer.status(), 400);
}

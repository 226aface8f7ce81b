//! Streams as certain servers send them.

mod server;

use futures_util::{FutureExt, StreamExt};
use server::{OPEN, Server, data, end, error, item, refusal, run, silent_end};
use sse_client::{Closed, Error, EventSource, Failure, Item, Policy, State, Terminator};

#[test]
fn a_sentinel_ends_the_stream_and_aborts_the_request() {
    run(async {
        let mut server = Server::start().await;
        for builder in [server.post("x"), server.builder()] {
            let mut source = builder.until("[DONE]").build().expect("a valid set-up");
            let body = ": OPENROUTER PROCESSING\n\ndata: {\"i\":1}\r\n\r\n\
                        data: [DONE]\n\ndata: after\n\n";
            let mut connection = server.open(&mut source, body).await;
            assert_eq!(data(&mut source).await, "{\"i\":1}");
            silent_end(&mut source).await;
            assert_eq!(source.state(), State::Closed(Closed::Complete));
            connection.gone().await;
        }
    });
}

#[test]
fn half_an_answer_is_not_taken_for_a_whole_one() {
    run(async {
        let mut server = Server::start().await;
        let stop = || Terminator::EventType("message_stop".to_owned());
        let body = "event: message_start\ndata: {}\n\nevent: ping\ndata: {}\n\n";
        let builder = server.post("x").must_end_with(stop());
        let mut source = builder.clone().build().expect("a valid set-up");
        drop(server.open(&mut source, body).await);
        data(&mut source).await;
        data(&mut source).await;
        assert_eq!(*end(&mut source).await.reason(), Closed::GaveUp(Failure::Incomplete));

        let mut source = builder.build().expect("a valid set-up");
        drop(server.open(&mut source, "event: message_stop\ndata: last\n\n").await);
        assert_eq!(data(&mut source).await, "last");
        silent_end(&mut source).await;
    });
}

#[test]
fn an_error_event_in_a_200_is_an_error() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.post("x").session(|config| config.error_events(["error"]));
        let mut source = builder.build().expect("a valid set-up");
        let body = "event: error\ndata: {\"type\":\"overloaded_error\"}\n\n";
        drop(server.open(&mut source, body).await);
        let failed = error(&mut source).await;
        assert!(!failed.is_final());
        let message = r#"the server sent an event "error": "{\"type\":\"overloaded_error\"}""#;
        assert_eq!(failed.to_string(), message);
        assert!(matches!(failed, Error::Event(event) if event.event_type() == "error"));
        silent_end(&mut source).await;
    });
}

#[test]
fn a_post_of_mcp_is_resumed_by_get() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.post("{}").policy(Policy::Resume).header("Mcp-Session-Id", "s");
        let builder = builder.header("Content-Type", "application/json");
        let mut source = builder.build().expect("a valid set-up");
        let first = server.open(&mut source, "id: e1\nretry: 10\ndata: \n\n").await;
        assert_eq!(first.method(), "POST");
        assert_eq!(data(&mut source).await, "", "empty data are delivered");
        drop(first);
        // The end means: ask again.
        for _ in 0..2 {
            let again = server.open(&mut source, "").await;
            assert_eq!((again.method(), &*again.body), ("GET", &b""[..]));
            assert_eq!(again.header("Last-Event-ID"), Some(&b"e1"[..]));
            assert_eq!(again.header("Mcp-Session-Id"), Some(&b"s"[..]));
            assert_eq!(again.header("Content-Type"), None);
        }
        drop(server.answer(&mut source, refusal(404, "")).await);
        assert_eq!(*end(&mut source).await.reason(), Closed::Status(404), "a new session");
    });
}

#[test]
fn a_post_of_mcp_without_ids_ends_when_it_does() {
    run(async {
        let mut server = Server::start().await;
        let builder = server.post("{}").policy(Policy::Resume);
        let mut source = builder.build().expect("a valid set-up");
        drop(server.open(&mut source, "data: a\n\n").await);
        assert_eq!(data(&mut source).await, "a");
        silent_end(&mut source).await;
    });
}

#[test]
fn a_mercure_hub_that_continues_from_elsewhere_has_left_a_gap() {
    run(async {
        let mut server = Server::start().await;
        // Hubs before 1.0 have the short name.
        for name in ["Mercure-Last-Event-ID", "Last-Event-ID"] {
            let open = |id: &str| OPEN.replace("\r\n\r\n", &format!("\r\n{name}: {id}\r\n\r\n"));
            for (asked, resumed, is_gap) in [
                ("urn:uuid:1", "urn:uuid:1", false),
                ("urn:uuid:1", "earliest", true),
                ("urn:uuid:1", "urn:uuid:2", true),
                ("urn:uuid:é", "urn:uuid:é", false),
                ("earliest", "urn:uuid:2", false),
                ("", "urn:uuid:2", false),
            ] {
                let builder = server.builder().last_event_id(asked);
                let mut source = builder.build().expect("a valid set-up");
                let _connection = server.answer(&mut source, open(resumed) + "data: a\n\n").await;
                assert_eq!(item(&mut source).await, Item::Open);
                if is_gap {
                    assert_eq!(item(&mut source).await, Item::Reset { channels: Vec::new() });
                }
                let next = item(&mut source).await.into_event();
                assert_eq!(next.expect("an event").data(), "a", "{name} {asked} {resumed}");
            }
        }
    });
}

#[test]
fn the_json_ids_of_wikimedia_come_back_byte_for_byte() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        let id = r#"[{"topic":"eqiad.ü","partition":0,"timestamp":1},{"topic":"b", "offset":-1}]"#;
        let body = format!(":ok\n\nevent: message\nid: {id}\ndata: {{}}\n\n");
        drop(server.open(&mut source, &body).await);
        assert_eq!(data(&mut source).await, "{}");
        let connection = server.open(&mut source, "").await;
        assert_eq!(connection.header("Last-Event-ID"), Some(id.as_bytes()));
    });
}

#[test]
fn firebase_redirects_to_another_host_with_the_token_in_the_query() {
    run(async {
        let (mut server, mut other) = (Server::start().await, Server::start().await);
        let url = server.url("/events.json?auth=token");
        let mut source = EventSource::builder(url)
            .session(|config| config.error_events(["cancel", "auth_revoked"]))
            .build()
            .expect("a valid set-up");
        let location = other.url("/events.json?auth=token&ns=x");
        let moved = format!("HTTP/1.1 307 Moved\r\nLocation: {location}\r\n\r\n");
        let _first = server.answer(&mut source, moved).await;
        let body = "event: put\ndata: {\"path\":\"/\",\"data\":null}\n\nevent: keep-alive\ndata: null\n\n\
                    event: auth_revoked\ndata: expired\n\n";
        let second = other.open(&mut source, body).await;
        assert_eq!(second.path(), "/events.json?auth=token&ns=x");
        assert_eq!(item(&mut source).await.into_event().expect("an event").event_type(), "put");
        assert!(matches!(error(&mut source).await, Error::Event(_)), "keep-alive is passed over");
    });
}

#[test]
fn an_id_survives_a_reconnection_whose_events_have_none() {
    run(async {
        let mut server = Server::start().await;
        let mut source = server.source();
        drop(server.open(&mut source, "id: 7\ndata: a\n\n").await);
        assert_eq!(data(&mut source).await, "a");
        for _ in 0..2 {
            let connection = server.open(&mut source, "data: b\n\n").await;
            assert_eq!(connection.header("Last-Event-ID"), Some(&b"7"[..]));
            drop(connection);
            let event = item(&mut source).await.into_event().expect("an event");
            assert_eq!(event.id(), Some("7"));
        }
    });
}

#[test]
fn events_alone_can_be_had() {
    run(async {
        let mut server = Server::start().await;
        let events = server
            .builder()
            .session(|config| config.comments(true))
            .build()
            .expect("a valid set-up")
            .events();
        let mut events = events.only(["a", "message"]);
        let body = ": c\n\nevent: stream-reset\ndata: {}\n\nevent: a\ndata: 1\n\n\
                    event: b\ndata: 2\n\ndata: 3\n\nevent: A\ndata: 4\n\n";
        let (received, connection) = tokio::join!(
            async {
                let mut received = Vec::new();
                while received.len() < 2 {
                    let event = events.next().await.expect("goes on").expect("good news");
                    received.push(event.data().to_owned());
                }
                received
            },
            async {
                let mut connection = server.accept().await;
                connection.send(format!("{OPEN}{body}")).await;
                connection
            }
        );
        assert_eq!(received, ["1", "3"]);
        assert!(events.next().now_or_never().is_none());
        assert_eq!(events.source().state(), State::Open);
        events.source_mut().close();
        assert!(StreamExt::next(&mut events).await.is_none());
        drop(connection);
    });
}

#[cfg(feature = "json")]
#[test]
fn json_is_read_and_what_is_none_is_named() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Token {
        i: u32,
    }
    run(async {
        let mut server = Server::start().await;
        let builder = server.post("x").until("[DONE]");
        let mut tokens = builder.build().expect("a valid set-up").json::<Token>();
        // Some servers prime a stream with an empty event, and keep it alive with others.
        let body = "id: 1\nretry: 300\ndata:\n\nevent: KEEP-ALIVE\ndata\n\ndata:  \n\n\
                    data: {\"i\":1}\n\nevent: t\nid: 7\ndata: {\"i\":\n\ndata: {\"i\":2}\n\ndata: [DONE]\n\n";
        let serving = tokio::spawn(async move {
            let mut connection = server.accept().await;
            connection.send(format!("{OPEN}{body}")).await;
            connection.gone().await;
        });
        assert_eq!(tokens.next().await.expect("goes on").expect("JSON"), Token { i: 1 });
        let bad = tokens.next().await.expect("goes on").expect_err("no JSON");
        assert!(!bad.is_final());
        assert_eq!(bad.to_string(), "event \"t\" with id \"7\" is not the JSON expected");
        let Error::Json(bad) = bad else { panic!("{bad:?}") };
        assert_eq!((bad.event().data(), bad.json_error().is_eof()), ("{\"i\":", true));
        assert_eq!(tokens.next().await.expect("goes on").expect("JSON"), Token { i: 2 });
        assert!(tokens.next().await.is_none());
        assert_eq!(tokens.source().state(), State::Closed(Closed::Complete));
        serving.await.expect("the client has gone");
    });
}
